"""What `make test` runs: build everything, run every suite, say what was found and what came of it.

    test.py [--jobs N] SUITE... [-- PYTEST-ARGS... (of cpython: MODULE...)]

SUITE: c, asan, ubsan (the C tests, asserts on), py (pytest on each CPython that is found, or on one
of them: py:3.12), cpython (the interpreter's own tests in a goroutine, likewise), asan-py, ubsan-py
(pytest on the best CPython with the extension under ASan, UBSan), tsan-py (those tests of pytest that have
threads in them, on a free-threaded CPython that is itself built with TSan: make pythons WHICH=3.13t-tsan).

Run it with a Python that has meson and ninja beside it, as .venv does. Its last line is
"N passed, N failed, N skipped"; the exit status is 0 only if everything was built, ran and passed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
WANTED = ["3.11", "3.12", "3.13", "3.13t", "3.14", "3.15"]
SLOW = os.environ.get("RAMET_SLOW") == "1"
PYTEST_LIMIT = 7200 if SLOW else 1500  # seconds for one interpreter's tests: each test has a limit of its own
CPYTHON_LIMIT = 5400  # for one interpreter's own tests, as they are run here
C_OPTIONS = {
    "c": [],
    "asan": ["-Db_sanitize=address"],
    "ubsan": ["-Db_sanitize=undefined"],
}
PY_SANITIZERS = {"asan-py": "address", "ubsan-py": "undefined", "tsan-py": "thread"}
TSAN_PYTHON = "3.13t-tsan"
TSAN_OUT = BUILD / "tsan"
TSAN_TESTS = [  # those with OS threads in them
    f"tests/python/test_{name}.py"
    for name in [
        "free_threaded_stress",
        "free_threaded_goroutines",
        "threads",
        "chan",
        "select",
        "sync",
        "timers",
        "blocking",
    ]
]
RELEASE_WARNINGS = ",".join(  # the last one goes first
    [f"ignore::{w}Warning" for w in ("Deprecation", "PendingDeprecation", "Import", "Resource")]
    + ["default::DeprecationWarning:__main__"]
)
TSAN_LIMIT = 300  # seconds for one test: everything is some ten times slower

output = threading.Lock()


@dataclass
class Suite:
    name: str
    title: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    trouble: str = ""  # why it did not build, or did not end as it should
    failures: list[str] = field(default_factory=list)
    python: str = ""  # path of the interpreter

    @property
    def good(self) -> bool:
        return not self.trouble and not self.failed


def say(text: str) -> None:
    with output:
        print(text, flush=True)


def environment() -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "MAKEFLAGS", "MAKELEVEL")}
    env["PATH"] = os.path.dirname(sys.executable) + os.pathsep + env["PATH"]
    env["RAMET_C_BUILD"] = str(BUILD / "c")  # where tests/examples finds the C examples
    return env


def run(cmd, log: Path, env=None, limit: float = 900, live: bool = False, append: bool = False) -> int:
    """Run cmd, its output in log, and on our stdout too if live. -1: it passed the limit."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab" if append else "wb") as f:
        p = subprocess.Popen(
            [str(c) for c in cmd],
            cwd=ROOT,
            env=env or environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        late = threading.Event()

        def expire():
            late.set()
            os.killpg(p.pid, signal.SIGKILL)

        timer = threading.Timer(limit, expire)
        timer.start()
        try:
            # to the end of the program, not of the pipe: a left-over child may hold that open
            reader = threading.Thread(target=pump, args=(p.stdout, f, live), daemon=True)
            reader.start()
            p.wait()
            reader.join(2)
        except BaseException:
            os.killpg(p.pid, signal.SIGKILL)
            raise
        finally:
            timer.cancel()
        # a session of its own: whatever it left running ends with it
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        reader.join(2)
        if late.is_set():
            return -1
        return p.returncode


def pump(pipe, log, live: bool) -> None:
    for chunk in iter(lambda: pipe.read1(65536), b""):
        try:
            log.write(chunk)
            log.flush()
        except ValueError:
            return
        if live:
            with output:
                sys.stdout.buffer.write(chunk)
                sys.stdout.flush()


def excerpt(log: Path) -> str:
    """What tells most of a failed build: the compiler's errors, else the end of the log."""
    text = log.read_text(errors="replace").splitlines()
    errors = [line for line in text if re.search(r"\berror:|\bERROR:|undefined reference|not found", line)]
    return "\n".join("    " + line.strip() for line in (errors[:15] or text[-20:]))


# ---- C ------------------------------------------------------------------------------------------


def build_c(s: Suite) -> None:
    d = BUILD / s.name
    log = BUILD / "logs" / f"{s.name}-build.log"
    begin = time.monotonic()
    setup = ["meson", "setup", d, ROOT, "-Dpython=false", "-Dasserts=true", *C_OPTIONS[s.name]]
    if (d / "build.ninja").exists():
        setup.insert(2, "--reconfigure")
    code = run(setup, log)
    if code and d.exists():  # left half-made, or by another meson
        shutil.rmtree(d)
        code = run([c for c in setup if c != "--reconfigure"], log)
    if not code:
        code = run(["ninja", "-C", d, "-k", "0"], log, append=True)
    if not code and s.name == "c":
        targets = subprocess.run(
            ["ninja", "-C", d, "-t", "targets", "all"], env=environment(), capture_output=True, text=True
        ).stdout
        for t in ("examples-c", "bench-c"):
            if f"\n{t}: phony" in targets and not code:
                code = run(["ninja", "-C", d, t], log, append=True)
    if code:
        s.trouble = "does not build"
        say(f"--- {s.title}: does not build ({log})\n{excerpt(log)}")
    s.seconds += time.monotonic() - begin


def test_c(s: Suite, live: bool) -> None:
    d = BUILD / s.name
    log = BUILD / "logs" / f"{s.name}-test.log"
    results = d / "meson-logs" / "testlog.json"
    results.unlink(missing_ok=True)
    begin = time.monotonic()
    say(f"=== {s.title}")
    code = run(["meson", "test", "-C", d, "--no-rebuild", "--print-errorlogs"], log, live=True)
    s.seconds += time.monotonic() - begin
    if results.exists():
        for line in results.read_text().splitlines():
            r = json.loads(line)
            if r["result"] == "OK":
                s.passed += 1
            elif r["result"] == "SKIP":
                s.skipped += 1
            else:
                s.failed += 1
                s.failures.append(f"{r['name']}: {r['result']}")
    if code == -1:
        s.trouble = "took too long"
    elif code and not s.failed:
        s.trouble = f"meson test: exit status {code}"
    elif not s.passed + s.failed + s.skipped:
        s.trouble = "no test ran"


# ---- Python -------------------------------------------------------------------------------------


def build_py(s: Suite) -> None:
    key = s.name.split(":", 1)[-1]
    venv = BUILD / "venvs" / key
    log = BUILD / "logs" / f"py-{key}-build.log"
    begin = time.monotonic()
    options = ["-Dasserts=true"]
    env = environment()
    if s.name == "tsan-py":
        env["CC"] = "clang-14"  # what the interpreter is built with: its runtime has to be the extension's
        env["TSAN_OPTIONS"] = "report_bugs=0"  # not meson's and pip's
        options += ["-Db_lundef=false"]
    if s.name in PY_SANITIZERS:
        options += [f"-Db_sanitize={PY_SANITIZERS[s.name]}"]
    code = run([ROOT / "tools" / "venv.sh", venv, s.python], log, env)
    if not code:
        code = run([ROOT / "tools" / "install.sh", venv, BUILD / f"py-{key}", *options], log, env, append=True)
    if code:
        s.trouble = "does not build"
        say(f"--- {s.title}: does not build ({log})\n{excerpt(log)}")
    s.seconds += time.monotonic() - begin


def test_py(s: Suite, live: bool, extra: list[str]) -> None:
    key = s.name.split(":", 1)[-1]
    python = BUILD / "venvs" / key / "bin" / "python"
    log = BUILD / "logs" / f"py-{key}-test.log"
    junit = BUILD / "logs" / f"py-{key}.xml"
    junit.unlink(missing_ok=True)
    env = environment()
    if s.name == "tsan-py":
        env.setdefault("PYTHON_GIL", "0")
    if key.endswith("d"):  # a debug build shows all warnings: show those that others do
        env.setdefault("PYTHONWARNINGS", RELEASE_WARNINGS)
    env["PATH"] = str(python.parent) + os.pathsep + env["PATH"]
    if s.name == "asan-py":
        libs = [  # libstdc++ or ASan does not find what throws in extensions in C++
            lib
            for name in ("libasan.so", "libstdc++.so.6")
            if os.path.exists(lib := subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip())
        ]
        env |= {"LD_PRELOAD": " ".join(libs), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    if s.name == "ubsan-py":
        env["UBSAN_OPTIONS"] = "print_stacktrace=1"
    if s.name == "tsan-py":
        env["TSAN_OPTIONS"] = tsan_options(s.python)
        extra = ["-o", f"timeout={TSAN_LIMIT}", "-o", f"faulthandler_timeout={TSAN_LIMIT - 20}", *(extra or TSAN_TESTS)]
    begin = time.monotonic()
    check = (
        "import sys, ramet; gil = getattr(sys, '_is_gil_enabled', lambda: True)();"
        "print('imported', ramet.__file__, 'with the GIL' if gil else 'without the GIL')"
    )
    if live:
        say(f"=== {s.title}")
    code = run([python, "-c", check], log, env, limit=60, live=live)
    if code:
        s.trouble = "import ramet: " + ("took too long" if code == -1 else f"exit status {code}")
        s.seconds += time.monotonic() - begin
        say(f"--- {s.title}: {s.trouble}\n{excerpt(log)}")
        return
    if imports_only(key):
        s.passed += 1
        s.seconds += time.monotonic() - begin
        return
    cmd = [
        python,
        "-m",
        "pytest",
        "--color=no",
        f"--junitxml={junit}",
        "-o",
        f"cache_dir={BUILD}/pytest/{key}",
    ]
    if key.endswith("t") and not SLOW and not any(a.startswith("tests") for a in extra):
        extra = [*extra, "tests/python"]  # the slowest of all interpreters; `make test-all` runs the rest there
    limit = PYTEST_LIMIT * (3 if s.name == "tsan-py" else 1)
    code = run([*cmd, *extra], log, env, limit=limit, live=live, append=True)
    s.seconds += time.monotonic() - begin
    if not live:
        with output:
            print(f"=== {s.title}", flush=True)
            sys.stdout.buffer.write(log.read_bytes())
            sys.stdout.flush()
    if junit.exists():
        for case in ET.parse(junit).iter("testcase"):
            kinds = {child.tag for child in case}
            if kinds & {"failure", "error"}:
                s.failed += 1
                s.failures.append(f"{case.get('classname')}::{case.get('name')}")
            elif "skipped" in kinds:
                s.skipped += 1
            else:
                s.passed += 1
    else:
        # died, or was ended by pytest-timeout: the stacks in the log tell where
        at = re.search(
            rb'File "%s/(tests/[^"]+)", line (\d+),? in (test\w+)' % re.escape(os.fsencode(ROOT)),
            log.read_bytes(),
        )
        if at:
            s.failures.append("ended in {}:{} {}".format(*(x.decode() for x in at.groups())))
    if code == -1:
        s.trouble = f"took more than {limit} s"
    elif code < 0:
        s.trouble = f"pytest died of {signal.Signals(-code).name}"
    elif code == 5:
        s.trouble = "no test ran"
    elif not junit.exists():
        s.trouble = f"pytest ended early, exit status {code}"
    elif code and not s.failed:
        s.trouble = f"pytest: exit status {code}"
    if s.name == "tsan-py":
        races = tsan_reports()
        s.failed += len(races)
        s.failures += races


def tsan_options(python: str) -> str:
    """CPython's own list of what to leave out, and ours; and every process writes its reports to a file of its own."""
    shutil.rmtree(TSAN_OUT, ignore_errors=True)
    TSAN_OUT.mkdir(parents=True)
    theirs = Path(python).parent.parent / "suppressions_free_threading.txt"
    both = TSAN_OUT / "suppressions.txt"
    both.write_text(theirs.read_text() + (ROOT / "tools" / "tsan.supp").read_text())
    # the status of who has a report stays as it is: what counts is the files, and some tests want a status
    symbolizer = shutil.which("llvm-symbolizer-14") or shutil.which("llvm-symbolizer") or ""
    return (
        f"suppressions={both}:log_path={TSAN_OUT}/report:exitcode=0:die_after_fork=0:history_size=4:report_thread_leaks=0"
        + f":external_symbolizer_path={symbolizer}" * bool(symbolizer)
    )


def tsan_reports() -> list[str]:
    """One line for each kind of report, whatever process it comes from; the reports themselves are printed."""
    kinds: dict[str, int] = {}
    for file in sorted(TSAN_OUT.glob("report.*")):
        text = file.read_text(errors="replace")
        for report in re.split(r"^={18}$", text, flags=re.MULTILINE):
            if not (summary := re.search(r"^SUMMARY: (.*)$", report, re.MULTILINE)):
                if report.strip() and not report.lstrip().startswith("ThreadSanitizer: reported"):
                    kinds[f"{file.name}: {report.strip().splitlines()[0]}"] = 1
                continue
            kind = summary[1].replace(str(ROOT) + "/", "")
            if kind not in kinds:
                say(f"--- {file}{report.rstrip()}")
            kinds[kind] = kinds.get(kind, 0) + 1
    return [f"{kind} ({n} times)" for kind, n in kinds.items()]


def test_cpython(s: Suite, modules: list[str]) -> None:
    key = s.name.split(":", 1)[-1]
    python = BUILD / "venvs" / key / "bin" / "python"
    out = BUILD / "cpython" / f"{key}.json"
    if not modules:
        out.unlink(missing_ok=True)
    begin = time.monotonic()
    say(f"=== {s.title}")
    cmd = [python, ROOT / "tests" / "stdlib" / "run.py", "--out", out, *modules]
    env = environment()
    code = run(cmd, BUILD / "logs" / f"cpython-{key}.log", env, limit=CPYTHON_LIMIT, live=True)
    s.seconds += time.monotonic() - begin
    found = json.loads(out.read_text())["modules"] if out.exists() else []
    found = [m for m in found if not modules or m["module"] in modules]
    s.failures = [f"{m['module']}: {line}" for m in found for line in m["differences"]]
    s.failed, s.skipped = len(s.failures), sum(len(m["not_run"]) for m in found)
    s.passed = sum(m["tests"] for m in found) - s.failed
    if code == -1:
        s.trouble = f"took more than {CPYTHON_LIMIT} s"
    elif code and not s.failed:
        s.trouble = f"exit status {code}"


def find_pythons() -> dict[str, tuple[str, str]]:
    lines = subprocess.run(
        [ROOT / "tools" / "find-pythons.sh"], env=environment(), capture_output=True, text=True
    ).stdout
    return {key: (version, path) for key, version, path in (line.split(None, 2) for line in lines.splitlines())}


# ---- all of it ----------------------------------------------------------------------------------


def main() -> int:
    argv = sys.argv[1:]
    extra: list[str] = []
    if "--" in argv:
        at = argv.index("--")
        argv, extra = argv[:at], argv[at + 1 :]
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = min(3 * len(os.sched_getaffinity(0)), 6)  # the tests wait more than they compute
    ap.add_argument(
        "--jobs", type=int, default=jobs, help="interpreters tested at the same time (three a CPU, at most 6)"
    )
    ap.add_argument("suites", nargs="+", metavar="SUITE")
    args = ap.parse_args(argv)

    begin = time.monotonic()
    pythons = find_pythons() if any("py" in s for s in args.suites) else {}  # also asan-py and cpython
    suites: list[Suite] = []
    for name in args.suites:
        if name in C_OPTIONS:
            suites.append(Suite(name, "C tests" + {"c": "", "asan": ", ASan", "ubsan": ", UBSan"}[name]))
        elif name in PY_SANITIZERS:
            wanted = [TSAN_PYTHON] if name == "tsan-py" else ["3.13", "3.12", "3.11", "3.14", "3.15"]
            best = next((k for k in wanted if k in pythons), None)
            if not best:
                how = f" {TSAN_PYTHON} (make pythons WHICH={TSAN_PYTHON} builds it)" if name == "tsan-py" else ""
                ap.error(f"no CPython{how} found")
            version, path = pythons[best]
            kind = {"asan-py": "ASan", "ubsan-py": "UBSan", "tsan-py": "TSan, as is the interpreter"}[name]
            suites.append(Suite(name, f"Python {version}, extension under {kind}", python=path))
        elif name == "py":
            if not pythons:
                ap.error("no CPython found")
            suites += [Suite(f"py:{k}", python_title(k, v), python=p) for k, (v, p) in pythons.items() if usual(k)]
        elif name == "cpython":
            suites += [cpython_suite(k, *found) for k, found in pythons.items() if usual(k) and not imports_only(k)]
        elif name.startswith(("py:", "cpython:")):
            kind, k = name.split(":")
            if k not in pythons:
                ap.error(f"CPython {k} was not found; there are: {' '.join(pythons)}")
            version, path = pythons[k]
            suites.append(
                cpython_suite(k, version, path)
                if kind == "cpython"
                else Suite(name, python_title(k, version), python=path)
            )
        else:
            ap.error(f"no such suite: {name}")

    if pythons:
        say("interpreters:")
        for key, (version, path) in pythons.items():
            say(f"  {key:10} {version:9} {path}")
    missing = [k for k in WANTED if k not in pythons] if "py" in args.suites else []
    if missing:
        say(f"  not found: {', '.join(missing)} (make pythons brings 3.13t, 3.14 and 3.15)")

    cpus = os.cpu_count() or 1
    with ThreadPoolExecutor(cpus) as pool:
        list(pool.map(lambda s: build_c(s) if s.name in C_OPTIONS else build_py(s), suites))
    say(f"=== built in {time.monotonic() - begin:.0f} s")

    for s in suites:
        if s.name in C_OPTIONS and not s.trouble:
            test_c(s, True)
    for s in suites:
        if s.name.startswith("cpython:") and not s.trouble:
            test_cpython(s, extra)
    py = [s for s in suites if s.name not in C_OPTIONS and not s.name.startswith("cpython:") and not s.trouble]
    with ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        list(pool.map(lambda s: test_py(s, args.jobs <= 1, extra), py))

    say("\n=== summary")
    if "py" in args.suites:
        say("interpreters found: " + ", ".join(f"{k} ({v})" for k, (v, _) in pythons.items()))
        say("not found: " + (", ".join(missing) or "none"))
    for s in suites:
        verdict = "ok" if s.good else "FAILED" + (f" ({s.trouble})" if s.trouble else "")
        counts = f"{s.passed:5} passed {s.failed:4} failed {s.skipped:4} skipped"
        say(f"  {s.title:42} {counts} {s.seconds:6.0f} s  {verdict}")
    for s in suites:
        for f in s.failures:
            say(f"  FAILED {s.title}: {f}")
    say(f"  {'all':42} {time.monotonic() - begin:41.0f} s")
    # what did not build or died counts as one failure at least
    failed = sum(s.failed or bool(s.trouble) for s in suites)
    say(f"\n{sum(s.passed for s in suites)} passed, {failed} failed, {sum(s.skipped for s in suites)} skipped")
    return 1 if failed else 0


def cpython_suite(key: str, version: str, path: str) -> Suite:
    return Suite(f"cpython:{key}", f"CPython {version}{'t' * key.endswith('t')}'s own tests", python=path)


def usual(key: str) -> bool:
    """Not one that is tested only when it is named: a debug build, or one with a sanitizer."""
    return not key.endswith(("d", "-tsan"))


def imports_only(key: str) -> bool:
    """Free-threaded from 3.14 on: goroutines are refused there, until the collector can see their frames."""
    return key.endswith("t") and key != "3.13t"


def python_title(key: str, version: str) -> str:
    kinds = {"d": ", debug build", "t": ", free-threaded"}
    kind = ", free-threaded: builds and imports" if imports_only(key) else kinds.get(key[-1], "")
    return f"Python {version}{kind}"


if __name__ == "__main__":
    sys.exit(main())
