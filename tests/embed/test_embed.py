"""ramet in a C program that embeds the interpreter, finalises it, and does it all again; also without Python's main thread."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import ramet
from helpers import environment, finish

HERE = Path(__file__).parent
PYTHON = Path(sys._base_executable).resolve()


def root():
    """The root that the interpreter was unpacked into (see tools/pythons.sh), or none."""
    return PYTHON.parents[2] if PYTHON.parents[2].name == "root" else None


def library():
    """The folder and the name of libpython, or why there is none."""
    name = sysconfig.get_config_var("LDLIBRARY") or ""
    folder = Path(sysconfig.get_config_var("LIBDIR") or "/")
    if root():
        folder = root() / folder.relative_to("/")
    if not name.endswith(".so"):
        pytest.skip(f"this interpreter has no shared libpython: LDLIBRARY is {name!r}")
    if not (folder / name).exists():
        pytest.skip(f"libpython is not there: {folder / name}")
    return folder, name[3:-3]


@pytest.fixture(scope="session")
def embed(tmp_path_factory):
    folder, name = library()
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("embed") / "embed"
    include = Path(sysconfig.get_path("include"))
    command = [compiler, "-g", "-O1", HERE / "embed.c", "-o", program, f"-L{folder}", f"-l{name}", "-lpthread"]
    command += [f"-Wl,--disable-new-dtags,-rpath,{folder}", "-rdynamic"]
    if root():  # it comes with a libc of its own
        include = root() / include.relative_to("/") if not include.is_relative_to(root()) else include
        loader = next(folder.glob("ld-linux-*.so.*"))
        command += [f"-I{root()}/usr/include", "-Wl,--allow-shlib-undefined", f"-Wl,--dynamic-linker={loader}"]
    command.append(f"-I{include}")
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr}"

    def run(code, times=1, where="main", status=0, later=None, **env):
        env = environment(PYTHONPATH=str(Path(ramet.__file__).parents[1]), **env)
        cmd = [program, PYTHON, str(times), where, code] + ([later] if later else [])
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return finish(subprocess.Popen(cmd, env=env, text=True, **pipes), status=status, timeout=180)

    return run


WORK = """
import os, threading, time
import ramet
from ramet import Chan, blocking, go, select, timeout
from ramet.time import sleep

def work():
    c = Chan()
    gs = [go(c.send, i) for i in range(100)]
    assert sorted(c.recv(10) for _ in gs) == list(range(100))
    assert blocking(lambda: 5) == 5
    sleep(0.002)
    r, w = os.pipe()
    g = go(lambda: select(ramet.readable(r), timeout=50).index)
    ramet.gosched()
    os.write(w, b"x")
    assert g.join(50) == 0
    os.close(r), os.close(w)
    t = threading.Thread(target=c.send, args=(7,)); t.start()
    assert c.recv(10) == 7
    t.join()
    try:
        with timeout(0.001): Chan().recv()
    except TimeoutError: pass
    else: raise AssertionError
    def deep(): return deep()
    def recurse():
        try: deep()
        except RecursionError: return "deep"
    assert go(recurse).join(50) == "deep"
    return True
"""
LEFT = """
def left():
    try: Chan().recv()
    finally:
        sleep(0.001)
        os.write(1, b"unwound ")
keep = [go(left) for _ in range(3)]
go(left)
go(sleep, 100)
go(blocking, time.sleep, 0.01)
sleep(0.001)
"""
INSIDE = "assert go(work).join(50) is True\n"


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("preempt", ["0", "1"])
def test_again_and_again(embed, where, preempt):
    code = WORK + "assert work()\n" + INSIDE + LEFT
    ended = embed(code, 3, where, RAMET_PREEMPT=preempt)
    assert ended.out == "unwound " * 12 and ended.err == "", str(ended)


def test_first_use_in_another_thread(embed):
    code = WORK + "t = threading.Thread(target=lambda: done.append(go(work).join(50)))\n"
    ended = embed(
        code + "done = []\nt.start(); t.join()\nassert done == [True]\n" + LEFT.replace("sleep(0.001)\n", ""), 3
    )
    assert "Error" not in ended.err, str(ended)


def test_python_s_main_thread_has_ended(embed):
    """What is to be raised in it finds no view of it in freed memory (which glibc fills here)."""
    hosted = "t = threading.Thread(target=lambda: go(int).join()); t.start(); t.join()\n"
    used = "assert go(pow, 2, 5).join() == 32\n"
    later = (
        "go(__import__('sys').exit, 3)\nwhile ramet.num_goroutines() > 1: time.sleep(0.001)\n"
        + used
        + "print('fine')\n"
    )
    filled = {"MALLOC_PERTURB_": "165", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    ended = embed(WORK + hosted + used, later=later, **filled)
    assert ended.out == "fine\n" and ended.err == "", str(ended)


def test_a_failure_is_the_program_s_own(embed):
    ended = embed("import ramet\nramet.go(lambda: 1 / 0).join()", 2, status=1)
    assert ended.err.count("ZeroDivisionError") == 1, str(ended)


def test_it_does_not_grow(embed):
    """A program that starts and ends the interpreter again and again, with 1,000 goroutines each time, against one without them."""
    size = "print(int(open('/proc/self/statm').read().split()[1]) * 4096 >> 20)\n"  # MiB
    imports = "import ramet, os, threading, time\n"
    code = WORK + "work()\ngs = [go(sleep, 0.001) for _ in range(1000)]\nfor g in gs: g.join()\n"
    plain, used = ([int(line) for line in embed(c + size, 12).out.split()] for c in (imports, code))
    assert used[-1] - used[3] < plain[-1] - plain[3] + 15, (plain, used)  # CPython leaves some, 3.12 most
