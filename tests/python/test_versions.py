"""Which CPythons: a minor version that ramet does not know is refused, when it is built and when it is imported; and what
cannot be run here, free-threaded builds, compiles at least."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import ramet
from helpers import run_py
from ramet import _core

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "python" / "_core"
INCLUDE = Path(sysconfig.get_path("include"))
NEXT = max(int(p.stem[-2:]) for p in CORE.glob("cpython_3??.h")) + 1  # the first minor version that is not known
THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
DEBUG = bool(sysconfig.get_config_var("Py_DEBUG"))
JIT = getattr(sys, "_jit", None)

compiler = shutil.which("gcc") or shutil.which("cc")
needs_compiler = pytest.mark.skipif(not compiler, reason="there is no C compiler")


def compiles(*arguments, text=None):
    """What the compiler says to one file, without making anything."""
    command = [compiler, "-fsyntax-only", "-std=gnu11"]
    command += ["-D_GNU_SOURCE", "-DPy_BUILD_CORE", '-DRM_EMBED_HEADER="embed.h"']
    command += [f"-isystem{INCLUDE / 'internal'}", f"-isystem{INCLUDE}", f"-I{ROOT / 'include'}", f"-I{ROOT / 'src'}"]
    command += [f"-I{CORE}", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers", *arguments]
    # Debian's pyconfig.h includes the one of its architecture
    env = {**os.environ, "C_INCLUDE_PATH": str(INCLUDE.parent)}
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, timeout=180)
    return done.returncode, done.stderr


# ---- unknown minor versions -------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("minor", [10, NEXT])
def test_compiler_refuses_unknown_minor(minor):
    stub = f"#include <Python.h>\n#undef PY_VERSION_HEX\n#define PY_VERSION_HEX 0x03{minor:02x}00f0\n"
    code, said = compiles("-xc", "-", text=stub + '#include "cpython_state.h"\n')
    assert code != 0
    assert ("ramet needs CPython 3.11 or newer" if minor == 10 else "ramet does not know this CPython version") in said


@needs_compiler
@pytest.mark.parametrize("minor", [10, NEXT])
def test_meson_refuses_unknown_minor(tmp_path, minor):
    meson = shutil.which("meson")
    if not meson:
        pytest.skip("meson is not installed")
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\n"
        "import runpy, sys, sysconfig\n"
        f"sysconfig.get_python_version = lambda: '3.{minor}'\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    python.chmod(0o755)
    native = tmp_path / "native.ini"
    native.write_text(f"[binaries]\npython = '{python}'\n")
    command = [meson, "setup", tmp_path / "build", ROOT, "--native-file", native, "-Dlibrary=false", "-Dtests=false"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode != 0, done.stdout
    want = "needs CPython 3.11 or newer, and this is 3.10" if minor == 10 else f"does not know CPython 3.{minor}"
    assert want in done.stdout, done.stdout


def others():
    """The other CPythons of this machine: (key, path). One with a sanitizer is as the one without."""
    found = subprocess.run([ROOT / "tools" / "find-pythons.sh"], capture_output=True, text=True, timeout=180).stdout
    mine = f"3.{sys.version_info.minor}" + ("t" if THREADED else "") + ("d" if DEBUG else "")
    return [
        (key, path)
        for key, _, path in (s.split(None, 2) for s in found.splitlines())
        if key.removesuffix("-tsan") != mine
    ]


def test_another_minor_cannot_import_it(tmp_path):
    """A name with the version in it is not even looked at; a plain one, as a careless copy has, is refused."""
    pythons = others()
    if not pythons:
        pytest.skip("there is no other CPython")
    tagged = tmp_path / "tagged"
    package = Path(ramet.__file__).parent
    shutil.copytree(package, tagged / "ramet", ignore=shutil.ignore_patterns("__pycache__"))
    plain = tmp_path / "plain"
    shutil.copytree(tagged, plain)
    (plain / "ramet" / Path(_core.__file__).name).rename(plain / "ramet" / "_core.so")
    for key, path in pythons:
        for where, wants in (tagged, ["_core"]), (plain, ["CPython", "undefined symbol"]):
            done = subprocess.run(
                [path, "-c", "import ramet"],
                cwd=where,
                # PYTHONMALLOC: not every build has the allocator that this one was told to use
                env={**os.environ, "PYTHONPATH": str(where), "PYTHONMALLOC": ""},
                capture_output=True,
                text=True,
                timeout=180,
            )
            last = done.stderr.strip().splitlines()[-1:]
            assert done.returncode == 1 and last and last[0].startswith("ImportError"), (key, where, done)
            assert any(w in last[0] for w in wants), (key, where, last)


# ---- the JIT ----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 15), reason="only the JIT of 3.15 keeps in the thread what is a goroutine's")
@pytest.mark.skipif(not (JIT and JIT.is_available()), reason="this CPython was built without a JIT")
def test_enabled_jit_is_refused():
    ended = run_py("import ramet", status=1, env={"PYTHON_JIT": "1"})
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("ImportError: ramet does not run with CPython's JIT enabled"), ended
    assert "PYTHON_JIT=0" in last
    run_py("import ramet; ramet.go(int).join()", env={"PYTHON_JIT": "0"})


# ---- free-threaded builds ---------------------------------------------------------------------------


@needs_compiler
@pytest.mark.skipif(THREADED, reason="this CPython is free-threaded: it was built for it")
@pytest.mark.skipif(sys.version_info < (3, 13), reason="no free-threaded build of this version")
def test_compiles_for_free_threaded():
    """Against the headers of this version, as its free-threaded build would have them."""
    faces = {"ramet.c", "ramet_net.c", "ramet_sync.c"}  # C programs' only
    files = [str(p) for p in (*CORE.glob("*.c"), *(ROOT / "src").glob("*.c")) if p.name not in faces]
    code, said = compiles("-Werror", "-DPy_GIL_DISABLED=1", *sorted(files))
    assert code == 0, said
