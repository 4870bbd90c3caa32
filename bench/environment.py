"""Sets up what the benchmarks need, under build/bench: an environment of Python of its own with ramet and its
peers, the Go program, the C programs; and tells the versions of all of it.

Everything that cannot be had is said once and then left out.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import rows
from rows import C_PROGRAMS, COPY_SIZE, INTERPRETERS

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
BUILD = ROOT / "build" / "bench"
VENV = BUILD / "venv"
PYTHON = VENV / "bin" / "python"
CORE = ROOT / "build" / "release"
PEERS = ("greenlet", "gevent", "uvloop", "trio", "runloom")
CC = os.environ.get("CC", "cc")
CFLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")

PROBE = """
import importlib.metadata as m, json, platform, sys, sysconfig
def version(name):
    try: return m.version(name)
    except m.PackageNotFoundError: return None
v = sysconfig.get_config_var
print(json.dumps({
    "packages": {n: version(n) for n in sys.argv[1:]},
    "python": sys.version.split()[0], "compiler": platform.python_compiler(),
    "configure": v("CONFIG_ARGS") or "",
    "flags": " ".join(f for f in (v("PY_CFLAGS") or "").split() if f[:2] in ("-O", "-f")),
    "lto": "-flto" in ((v("PY_CORE_LDFLAGS") or "") + (v("PY_CFLAGS_NODIST") or "")),
    "debug": bool(v("Py_DEBUG")), "free_threaded": bool(v("Py_GIL_DISABLED")),
}))
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def call(*command, env=None, cwd=ROOT, quiet=False):
    """Run a command; its output, or None if it failed, and then its last lines are shown."""
    argv = [str(c) for c in command]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(argv, cwd=cwd, env=env, text=True, **both)
    if done.returncode == 0:
        return done.stdout
    if not quiet:
        say("  " + "\n  ".join(done.stdout.strip().splitlines()[-8:]))
    return None


# ---- Python ----


def interpreter():
    """The interpreter that ramet's own environment was made from, else the one it would be made from."""
    python = ROOT / ".venv" / "bin" / "python"
    if not python.exists():
        return call("tools/find-pythons.sh", "--best").strip()
    return call(python, "-c", "import sys; print(sys._base_executable)").strip()


def set_up_python(python, install):
    """The environment with the peers and ramet in it. `install` False: take what is there."""
    if not install and PYTHON.exists():
        return
    BUILD.mkdir(parents=True, exist_ok=True)
    if call("tools/venv.sh", VENV.relative_to(ROOT), python or interpreter()) is None:
        raise SystemExit("bench: no environment of Python could be made")
    have = probe()["packages"]
    for name in PEERS:
        if not have[name] and call(PYTHON, "-m", "pip", "install", "-q", name) is None:
            say(f"bench: {name} cannot be installed here; it is left out")
    if call("tools/install.sh", VENV.relative_to(ROOT), "build/py-bench") is None:
        say("bench: ramet for Python cannot be built; it is left out")


def venv_of(key):
    return BUILD / f"venv-{key}"


def python_of(peer):
    return venv_of(peer.python) / "bin" / "python" if peer.python else PYTHON


def set_up_interpreters(install):
    """An environment with ramet alone on each interpreter that there is: {need: version of the interpreter}."""
    versions = {}
    for line in (call("tools/find-pythons.sh") or "").splitlines():
        key, version, path = line.split(None, 2)
        if key not in INTERPRETERS:
            continue
        venv = venv_of(key)
        if (install or not (venv / "bin" / "python").exists()) and (
            call("tools/venv.sh", venv.relative_to(ROOT), path) is None
            or call("tools/install.sh", venv.relative_to(ROOT), f"build/py-bench-{key}") is None
        ):
            say(f"bench: ramet cannot be built for CPython {key}; it is left out")
            continue
        versions[f"ramet {key}"] = version
    return versions


def probe():
    out = call(PYTHON, "-c", PROBE, "ramet", *PEERS)
    return json.loads(out)


# ---- Go and C ----


def set_up_go():
    if not shutil.which("go"):
        return say("bench: there is no go on the path: no ratios to Go")
    if call("go", "build", "-o", BUILD / "bench_go", ".", cwd=BENCH / "go") is None:
        say("bench: the Go program cannot be built; Go is left out")


def compile_c(name, *libraries, optional=""):
    target, source = BUILD / name, BENCH / "c" / f"{name}.c"
    newest = max(f.stat().st_mtime for f in (source, *(BENCH / "c").glob("*.h")))
    if target.exists() and target.stat().st_mtime > newest:
        return
    target.unlink(missing_ok=True)
    if call(CC, *CFLAGS, source, "-o", target, *libraries, quiet=bool(optional)) is None:
        say(f"bench: {name} cannot be built{optional}")


def set_up_net():
    """The load generators, the floor of both faces, and the files that the servers need."""
    for name in ("echo_load", "line_load", "udp_load", "accept_load", "copy_load", "peer_epoll"):
        compile_c(name)
    no_tls = ": no OpenSSL (Debian: apt-get install libssl-dev), so there are no TLS rows"
    compile_c("tls_load", "-lssl", "-lcrypto", optional=no_tls)
    set_up_certificate()
    set_up_copied()


def set_up_certificate():
    """Of its own making, good for a year; made anew at every run."""
    cert, key = BUILD / "cert.pem", BUILD / "key.pem"
    cert.unlink(missing_ok=True)
    if not shutil.which("openssl"):
        return say("bench: there is no openssl command to make a certificate: there are no TLS rows")
    how = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365")
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    call("openssl", "req", "-x509", *how, *name, "-keyout", key, "-out", cert)


def set_up_copied():
    """The file of the copy rows: on the disk, but read from memory once it has been written."""
    copied, load = BUILD / "copy.dat", BUILD / "copy_load"
    if not load.exists() or (copied.exists() and copied.stat().st_size == COPY_SIZE):
        return
    with open(copied, "wb") as f:
        if subprocess.run([str(load), "write", str(COPY_SIZE)], stdout=f).returncode:
            copied.unlink()
            say("bench: no room for the file of the copy rows")


def set_up_c(install):
    compile_c("peer_libuv", "-luv", optional=": no libuv (Debian: apt-get install libuv1-dev)")
    # meson and ninja are in the benchmarks' environment where ramet's own is not there
    path = {**os.environ, "PATH": os.environ["PATH"] + f":{VENV}/bin"}
    if install and call("tools/meson-c.sh", CORE.relative_to(ROOT), "bench-c", env=path) is None:
        say("bench: libramet cannot be built; it is left out")


def c_program(row):
    """libramet's program for a row."""
    for name, theirs in C_PROGRAMS.items():
        if row in theirs:
            return CORE / "bench" / "c" / name
    return None


# ---- who is here, in which version ----


def version_of(program):
    out = call(BUILD / program, "version", quiet=True) if (BUILD / program).exists() else None
    return json.loads(out)["version"] if out else None


def libramet_version():
    programs = [CORE / "bench" / "c" / name for name in C_PROGRAMS]
    for program in programs:
        out = call(program, "version", quiet=True) if program.exists() else None
        if out:
            return json.loads(out)["version"]
    return None


def set_up(python=None, faces=rows.FACES, install=True):
    """Set up all of it; what is here, as {need: version}, and a description of interpreter and machine."""
    BUILD.mkdir(parents=True, exist_ok=True)
    versions, facts = {}, machine()
    set_up_go()
    versions["go"] = version_of("bench_go")
    set_up_net()
    versions["cc"] = version_of("peer_epoll")
    if rows.PYTHON in faces:
        set_up_python(python, install)
        found = probe()
        versions.update(found["packages"])
        versions[""] = found["python"]
        facts.update(interpreter_facts(found))
    if rows.VERSIONS in faces:
        versions.update(set_up_interpreters(install))
    if rows.C in faces:
        set_up_c(install)
        versions["libuv"] = version_of("peer_libuv")
        versions["libramet"] = libramet_version()
        facts["C compiler"] = (call(CC, "--version", quiet=True) or "?").splitlines()[0] + f", {CFLAGS[0]}"
        facts["libramet"] = f"{versions['libramet'] or 'not built'}, Meson build type {build_type(CORE)}"
    return {k: v for k, v in versions.items() if v}, facts


def build_type(build):
    """Meson's build type and optimisation of a build directory."""
    try:
        options = json.loads((build / "meson-info" / "intro-buildoptions.json").read_text())
    except OSError:
        return "unknown"
    values = {o["name"]: o["value"] for o in options}
    asserts = "on" if values.get("asserts") else "off"
    return f"{values.get('buildtype')}, -O{values.get('optimization')}, asserts {asserts}"


def interpreter_facts(found):
    optimized = "PGO" if "--enable-optimizations" in found["configure"] else "no PGO"
    kind = [k for k, on in (("debug", found["debug"]), ("free-threaded", found["free_threaded"])) if on]
    return {
        "Python": f"CPython {found['python']} {' '.join(kind)} {found['compiler']}".replace("  ", " "),
        "Python's build": f"{found['flags']}; {optimized}, {'LTO' if found['lto'] else 'no LTO'}",
        "ramet for Python": f"Meson build type {build_type(ROOT / 'build' / 'py-bench')}",
    }


def machine():
    cpu = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) >> 20
    return {
        "machine": f"{cpu}, {len(os.sched_getaffinity(0))} CPUs, {memory + 1} GiB, {platform.machine()}",
        "kernel": f"Linux {platform.release()}",
    }
