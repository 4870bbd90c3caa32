"""The examples of the talks and tutorials, run as a user runs them: their output, their exit status."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


def python(name, *args, status=0, stderr=""):
    """What the example writes to stdout, once its exit status and stderr are as expected (stderr: a regex)."""
    p = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *args],
        capture_output=True,
        encoding="utf-8",
        timeout=180,
        stdin=subprocess.DEVNULL,
    )
    assert p.returncode == status, f"exit status {p.returncode}\n{p.stdout}\n{p.stderr}"
    assert re.fullmatch(stderr, p.stderr, re.DOTALL), p.stderr
    return p.stdout


def test_ticker():
    out = python("ticker.py").splitlines()
    assert out[0] == "tick 1"
    for number, line in enumerate(out[1:5], 2):
        assert re.fullmatch(rf"tick {number}, \d+\.\d\d s after the last one", line), out
    assert out[5:] == ["stopped: no tick comes any more"]


def test_producer_consumer():
    out = python("producer_consumer.py").splitlines()
    assert re.fullmatch(r"everything is produced, [0-3] jobs still wait in the queue", out[0]), out
    jobs = " ".join(f"{name}{number}" for name in "ab" for number in range(10))
    assert out[1] == f"all 20 jobs are done: {jobs}"
    assert sorted(out[2:4]) == [f"consumer {name}: the queue is shut down, I leave" for name in "xy"]
    x, y = re.fullmatch(r"x did (\d+), y, which is slower, (\d+)", out[4]).groups()
    assert int(x) + int(y) == 20 and int(x) and int(y)


def test_resource_control():
    assert python("resource_control.py") == "20 workers are done, 5 of them at most were inside at once\n"


def test_condition():
    assert python("condition.py").splitlines() == [
        "Ann takes 1, 0 left",
        "Bob takes 3, 0 left",
        "Cyd takes 6, 0 left",
        "the purse holds 0, wait_for says False",
    ]


def test_event():
    out = python("event.py").splitlines()
    assert out[:2] == ["Dan goes home", "the shop opens"]
    inside = ["Ann goes in", "Bob goes in", "Cyd goes in", "Eve goes in, and it did not rain"]
    assert sorted(out[2:6]) == inside
    assert out[6:] == ["a late one goes in"]


def test_race():
    out = python("race.py").splitlines()
    lost = re.fullmatch(r"race +(\d+) of 100: updates were lost", out[0])
    assert 1 <= int(lost[1]) < 100
    assert out[1:] == [f"{way:10} 100 of 100" for way in ("mutex", "atomic", "channel", "confined")]


def test_deadlock():
    report, _, rest = python("deadlock.py").partition("\n\nSokrates eats\n")
    assert report.startswith("DeadlockError: ")
    for name in ("Platon", "Sokrates"):
        assert re.search(rf"goroutine \d+ '{name}' \[mutex <locked ramet.sync.Mutex object at 0x", report), report
    assert report.count("with second:") == 2 and "platon.join()" in report, report
    # Sokrates has what Platon put back before main hears of it
    assert rest.splitlines() == [
        "Platon was cancelled: True",
        "an order mends it: everybody takes the forks first",
        "Platon eats",
        "Sokrates eats",
    ]


def test_scheduler():
    log = "1a 2a 3a 1b 2b 3b 1d 2d 3d 1e 2e 3e 1c 2c 3c, 15 visits"
    assert python("scheduler.py") == f"generators: {log}\ngoroutines: {log}\nin the same order\n"


def test_spinner():
    *turns, answer = python("spinner.py").splitlines()  # a carriage return ends a line, too
    assert answer == "the answer: 42; the spinner was cancelled: True"
    turns = [t for t in turns if t.strip()]
    assert len(turns) >= 3 and all(re.fullmatch(r"[|/\\-] thinking", t) for t in turns), turns
    assert turns[:3] == ["| thinking", "/ thinking", "- thinking"]


def test_countdown():
    out = python("countdown.py").splitlines()
    assert out[:6] == [*(f"Apollo: {n}" for n in (5, 4, 3, 2, 1)), "Apollo: lift-off"]
    counted = out[6:-1]
    assert counted == [f"Vanguard: {n}" for n in range(5, 5 - len(counted), -1)] and 1 <= len(counted) <= 5
    assert out[-1] == "Vanguard: aborted"


# ---- over sockets, and in processes --------------------------------------------------------------


def test_flags():
    out = python("flags.py").splitlines()
    assert out[0] == "20 flags, 40 ms of delay each"
    rows = [re.fullmatch(r"(\w+) +(\d+\.\d\d) s  20 came right", line).groups() for line in out[1:]]
    assert [way for way, _ in rows] == ["serial", "threads", "goroutines"]
    seconds = {way: float(time) for way, time in rows}
    assert seconds["serial"] >= 0.75  # twenty delays
    assert seconds["goroutines"] < 10 * seconds["serial"]


def test_gil():
    out = python("gil.py").splitlines()
    assert re.fullmatch(r"2 tasks, \d+ cores", out[0])
    rows = [re.fullmatch(r"(\w+) +(\w+) +\d+ ms  right", line).groups() for line in out[1:]]
    threes = ["one_after_the_other", "in_threads", "in_goroutines"]
    assert rows == [
        *(("compute", way) for way in [*threes, "in_processes"]),
        *(("digest", way) for way in [*threes, "by_blocking"]),
    ]


def test_tcp_proxy():
    assert python("tcp_proxy.py") == "10 of 10 messages, of up to 1 MB, came back right through the proxy\n"


def test_tcp_proxy_without_upstream():
    """Whom nobody answers there is sent away, and the proxy serves on until Ctrl-C."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        nobody = f"127.0.0.1:{s.getsockname()[1]}"
    command = [sys.executable, str(EXAMPLES / "tcp_proxy.py"), "127.0.0.1:0", nobody]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            host, port = re.fullmatch(r"serving on (\S+):(\d+)\n", p.stdout.readline()).groups()
            for _ in range(2):
                with socket.create_connection((host, int(port)), timeout=50) as s:
                    assert s.recv(10) == b""
            p.send_signal(signal.SIGINT)
            _, err = p.communicate(timeout=180)
            assert p.returncode == 130
            assert err.count(f"tcp_proxy: {nobody}: ") == 2, err
        finally:
            p.kill()


def test_chat():
    assert python("chat.py").splitlines() == [
        "Ann heard: * Bob enters, Ann: hello, Bob: hi Ann, Bob: bye, * Bob leaves, Ann: bye, * Ann leaves",
        "Bob heard: Ann: hello, Bob: hi Ann, Bob: bye, * Bob leaves",
        "Cyd heard: Cyd: anybody?, Cyd: bye, * Cyd leaves",
    ]
