"""Every example, run as a user runs it: its output, its exit status.

The C ones are in $RAMET_C_BUILD/examples, as `make test` builds them.
"""

import functools
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
SLOW = os.environ.get("RAMET_SLOW") == "1"
TESTED_WITH_MILLION = (3, 13)  # the one interpreter on which pingpong_million has its million

PRIMES = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71]


def run(*command, timeout=180, status=0, stderr=""):
    """What the command writes to stdout, once its exit status and stderr are as expected (stderr: a regex)."""
    p = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    assert p.returncode == status, f"exit status {p.returncode}\n{p.stdout}\n{p.stderr}"
    assert re.fullmatch(stderr, p.stderr, re.DOTALL), p.stderr
    return p.stdout


def python(name, *args, **how):
    return run(sys.executable, str(EXAMPLES / name), *map(str, args), **how)


def program(name):
    """The path of a C example, or a skip that says why there is none."""
    build = os.environ.get("RAMET_C_BUILD")
    if not build:
        pytest.skip("C example: RAMET_C_BUILD is not set (make test sets it)")
    path = Path(build, "examples", name)
    if not path.exists():
        pytest.skip(f"C example: {path} has not been built (meson compile examples-c)")
    return str(path)


def lines(*words):
    return "".join(f"{word}\n" for word in words)


# ---- the small ones ------------------------------------------------------------------------------


def assert_said(out):
    said = out.splitlines()
    assert sorted(said) == ["hello"] * 5 + ["world"] * 5
    # neither waits for the other: no word is said more than twice in a row
    assert not re.search(r"(\bhello\n){3}|(\bworld\n){3}", out), out


def test_say():
    assert_said(python("say.py"))


def test_sum():
    x, y, total = map(int, python("sum.py").split())
    assert sorted([x, y]) == [-5, 17] and total == 12


def test_buffered():
    assert python("buffered.py") == lines("2 of 2 places are taken; one more fits: False", 1, 2)


def test_fibonacci():
    assert python("fibonacci.py") == lines(0, 1, 1, 2, 3, 5, 8, 13, 21, 34, "closed: (None, False)")


def test_select_buffered():
    assert python("select_buffered.py") == lines(*range(10), "quit")


def test_sieve():
    assert python("sieve.py") == lines(*PRIMES[:10])
    assert python("sieve.py", 20) == lines(*PRIMES)
    assert python("sieve.py", 1000).split()[-1] == "7919"


# ---- servers -------------------------------------------------------------------------------------

CHECKED = "1000 connections open at once, 3000 of 3000 messages came back right\n"


@functools.cache
def descriptors():
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_echo_server():
    if descriptors() < 1100:
        pytest.skip(f"only {descriptors()} descriptors: 1,000 connections need more")
    assert python("echo_server.py") == CHECKED


def test_echo_server_without_descriptors():
    command = ["sh", "-c", 'ulimit -n 100; exec "$@"', "sh", sys.executable, str(EXAMPLES / "echo_server.py")]
    out = run(*command, "--connections=300", status=1, stderr=r"echo_server: .*Too many open files\n")
    assert out == ""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def serve_and_check(*command):
    """Start an echo server on a port, check it from outside, end it by Ctrl-C. Its exit status."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            assert re.fullmatch(r"serving on \S+:\d+\n", server.stdout.readline())
            address = command[-1].rpartition("=")[2]
            assert python("echo_server.py", f"--check={address}", "--connections=20") == (
                "20 connections open at once, 60 of 60 messages came back right\n"
            )
            server.send_signal(signal.SIGINT)
            return server.wait(10)
        finally:
            server.kill()


def test_echo_server_serves():
    server = [sys.executable, str(EXAMPLES / "echo_server.py"), f"--serve=127.0.0.1:{free_port()}"]
    assert serve_and_check(*server) == 130


# ---- many goroutines, many files -----------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """A few files: an empty one, a big one, names that a URL must quote."""
    (tmp_path / "sub folder").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "left.out").write_bytes(b"not fetched")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "big").write_bytes(bytes(range(256)) * 20_000)
    (tmp_path / "sub folder" / "a?b#c%20é").write_bytes(b"odd name")
    for i in range(20):
        (tmp_path / f"file{i}").write_bytes(os.urandom(i * 1000))
    return tmp_path


def test_digests(tree):
    seconds = r" +\d+\.\d\d s\n"
    out = python("digests.py", tree)
    assert re.fullmatch(
        rf"24 files, 5\.3 MB\none_after_the_other{seconds}goroutine_a_file{seconds}the digests agree\n", out
    ), out


def free_memory():
    text = Path("/proc/meminfo").read_text()
    return int(re.search(r"MemAvailable: +(\d+) kB", text)[1]) << 10


@pytest.mark.long
def test_pingpong_million():
    """In make test-all, on one interpreter, with a million where 8 GB are free; the output says with how many."""
    free = free_memory()
    count = 1_000_000 if SLOW and sys.version_info[:2] == TESTED_WITH_MILLION else 100_000
    if free < 8e9:
        count = min(count, int(free / 80_000) // 1000 * 1000)
    out = python("pingpong_million.py", count, timeout=280)
    print(f"{free / 1e9:.1f} GB free: {count:,} goroutines\n{out}")
    found = re.fullmatch(
        rf"{count:,} goroutines alive at once, started in [\d.]+ s\n"
        r"memory: ([\d.]+) KiB a goroutine, [\d.]+ GiB in all\n"
        rf"{2 * count:,} hits by {count // 2:,} pairs in [\d.]+ s\n",
        out,
    )
    assert found, out
    assert 0 < float(found[1]) < 64


# ---- the main job --------------------------------------------------------------------------------


needs_h11_and_tqdm = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ["h11", "tqdm"])),
    reason="downloader.py: h11 and tqdm are not installed (make installs them)",
)


def assert_downloaded(out, count):
    assert re.match(rf"{count} files of \S+, [\d.]+ MB; the server waits [\d.]+ ms before every answer\n", out), out
    rows = re.findall(r"^(\S.*?) +([\d.]+) s +(\d+) +([\d.]+) MB +(\d+)$", out, re.MULTILINE)
    titles = ["one after the other", "32 threads", "a goroutine a file, 256 sockets"]
    assert [r[0] for r in rows] == titles, out
    assert all(float(r[1]) > 0 and 5 < float(r[3]) < 1000 for r in rows), out
    assert int(rows[0][4]) == 1 and 1 < int(rows[1][4]) <= 33 and int(rows[2][4]) < 10, out
    assert f"SHA-256: all {count} files came as they are on the disk" in out, out
    assert out.endswith("python -m ramet.tour\n"), out
    assert "prime sieve: 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37 ... the 100th is 541\n" in out
    spoken = re.search(r"^fan-in by select: (.*), too slow: I leave$", out, re.MULTILINE)[1].split(", ")
    assert sorted(spoken) == ["Ann 0", "Ann 1", "Joe 0", "Joe 1", "Joe 2"]
    for name in ("Ann", "Joe"):
        assert [s for s in spoken if name in s] == sorted(s for s in spoken if name in s)


PROGRESS = r"one after the other \.\.\.\n32 threads \.\.\.\na goroutine a file, 256 sockets \.\.\.\n"


@needs_h11_and_tqdm
def test_downloader():
    """200 files of the default tree."""
    assert_downloaded(python("downloader.py", "--limit", 200, stderr=PROGRESS), 200)


@needs_h11_and_tqdm
def test_downloader_odd_files(tree):
    assert_downloaded(python("downloader.py", tree, "--delay", 0.001, stderr=PROGRESS), 23)


@needs_h11_and_tqdm
def test_downloader_finds_what_is_wrong(tmp_path):
    """A server that gives other bytes than the disk's: named, and the exit status is 1."""
    (tmp_path / "good").write_text("good")
    (tmp_path / "bad").write_text("bad")
    lying = (
        "import sys, runpy, _downloader_server as s\n"
        "right = s.head\n"
        "plain = s.answer_file\n"
        "def answer_file(http, conn, path):\n"
        "    s.answer(http, conn, 200, b'lies') if path.name == 'bad' else plain(http, conn, path)\n"
        "s.answer_file = answer_file\n"
        "s.main()\n"
    )
    wrapper = tmp_path / "code" / "wrapper.py"
    wrapper.parent.mkdir()
    wrapper.write_text(lying)
    driver = (
        "import sys\n"
        f"sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "import downloader, argparse, pathlib, subprocess, os\n"
        f"os.environ['PYTHONPATH'] = os.pathsep.join([{str(EXAMPLES)!r}, *sys.path])\n"
        "popen = subprocess.Popen\n"
        "class Lying(popen):\n"
        "    def __init__(self, args, **k):\n"
        "        if args[1].endswith('_downloader_server.py'):\n"
        f"            args = [args[0], {str(wrapper)!r}, *args[2:]]\n"
        "        super().__init__(args, **k)\n"
        "subprocess.Popen = Lying\n"
        f"sys.argv = ['downloader.py', {str(tmp_path)!r}, '--delay=0']\n"
        "sys.exit(downloader.main())\n"
    )
    out = run(sys.executable, "-c", driver, status=1, stderr=PROGRESS)
    assert out.count("1 files are WRONG: /bad\n") == 3, out
    assert "SHA-256:" not in out


@needs_h11_and_tqdm
def test_downloader_bad_input(tmp_path):
    python("downloader.py", tmp_path, status=1, stderr=r"no file in \S+\n")
    for option in ("--limit=0", "--limit=x", "--delay=-1", "--workers=0", "--sockets=0", "--way=other"):
        python("downloader.py", option, status=2, stderr=r"usage: .*error: argument .*")


# ---- C -------------------------------------------------------------------------------------------


def test_c_say():
    assert_said(run(program("say")))


def test_c_sieve():
    sieve = program("sieve")
    assert run(sieve) == lines(*PRIMES[:10])
    assert run(sieve, "20") == lines(*PRIMES)
    assert run(sieve, "1000").split()[-1] == "7919"


def test_c_echo_server():
    server = program("echo_server")
    if descriptors() < 2100:
        pytest.skip(f"only {descriptors()} descriptors: both ends of 1,000 connections need more")
    assert run(server, "--check", "1000") == CHECKED


def test_c_echo_server_without_descriptors():
    server = program("echo_server")
    out = run(
        "sh", "-c", 'ulimit -n 100; exec "$0" --check 300', server, status=1, stderr="echo_server: .*open files\n"
    )
    assert out == ""


def test_c_echo_server_serves():
    assert serve_and_check(program("echo_server"), f"127.0.0.1:{free_port()}") == -signal.SIGINT


def test_c_echo_server_usage():
    run(program("echo_server"), "--check", "0", status=2, stderr="usage: .*")
    run(program("echo_server"), "nonsense", status=1, stderr="echo_server: .*")
