"""python -m ramet.tour, run as a user runs it; and that it notices a scene that goes wrong."""

import re
import subprocess
import sys

import pytest
from helpers import environment
from ramet import tour

TITLES = [scene.title for scene in tour._SCENES]


def run_tour(*args, status=0):
    p = subprocess.run(
        [sys.executable, "-m", "ramet.tour", *args],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment(),
        stdin=subprocess.DEVNULL,
    )
    assert p.returncode == status, f"exit status {p.returncode}\n{p.stdout}\n{p.stderr}"
    assert bool(p.stderr) == (status == 2), p.stderr
    return p.stdout


def test_all():
    out = run_tour()
    assert re.findall(r"^\d\. (.*)$", out, re.MULTILINE) == TITLES and len(TITLES) == 8
    assert "\033" not in out  # no colours but at a terminal
    for shown in ("    world = ramet.go(say", "  | HELLO WORLD\n", "  | with a mutex: 100\n", "  | the alarm rings\n"):
        assert shown in out
    assert len(re.findall(r"^  \| failed: page 2: connection lost$", out, re.MULTILINE)) == 1


def test_some():
    assert re.findall(r"^(\d)\. ", run_tour("3", "2"), re.MULTILINE) == ["3", "2"]


def test_list():
    assert run_tour("--list") == "".join(f"{n}. {title}\n" for n, title in enumerate(TITLES, 1))


def test_bad_input():
    for argument in ("0", "9", "x", "--other"):
        assert run_tour(argument, status=2) == ""


def fail():
    raise ValueError("on purpose")


@pytest.mark.parametrize("body, said", [(fail, "ValueError: on purpose"), (lambda: print("odd"), "not what it should")])
def test_a_scene_that_goes_wrong(monkeypatch, capsys, body, said):
    wrong = tour._Scene("Goroutines", "", body, lambda out: out == ["even"])
    monkeypatch.setattr(tour, "_SCENES", [wrong, tour._SCENES[2]])
    monkeypatch.setattr(tour, "_code", lambda body: "...")
    assert tour.main([]) == 1
    out = capsys.readouterr().out
    assert said in out and out.endswith("went wrong: 1. Goroutines\n"), out
    assert "  | a letter\n" in out  # the others are shown all the same


def test_a_scene_that_hangs(monkeypatch, capsys):
    import ramet

    monkeypatch.setattr(tour, "LIMIT", 0.05)
    hangs = tour._Scene("Hangs", "", lambda: ramet.time.sleep(60), lambda out: True)
    monkeypatch.setattr(tour, "_SCENES", [hangs])
    monkeypatch.setattr(tour, "_code", lambda body: "...")
    assert tour.main(["1"]) == 1
    assert "TimeoutError" in capsys.readouterr().out


def test_colours_at_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert tour.main(["3"]) == 0
    assert "\033[1m3. Buffered channels\033[0m\n" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    assert tour.main(["3"]) == 0
    assert "\033" not in capsys.readouterr().out
