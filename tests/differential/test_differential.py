"""ramet and Go run the same random programs; what comes of each is among what a model of Go's channels says can come."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import programs
import pytest

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
SLOW = os.environ.get("RAMET_SLOW") == "1"
PROGRAMS = 5000 if SLOW else 250
SEED = random.randrange(1 << 32) if SLOW else 1  # of all programs; it is told when a test fails
RUNS = range(6)  # seeds of the yields within a program


@pytest.fixture(scope="module")
def batch():
    """Programs with what may come of them."""
    rng, found = random.Random(SEED), []
    while len(found) < PROGRAMS:
        program = programs.generate(rng)
        try:
            found.append((program, programs.outcomes(program)))
        except programs.TooMany:
            pass
    return found


def check(who, program, seed, allowed, got):
    assert got in allowed, (
        f"{who}: seed {seed} of {json.dumps(program)} (programs of seed {SEED}):\n{got}\nis none of\n"
        + "\n".join(map(str, allowed))
    )


def test_batch_is_of_all_kinds(batch):
    """Else the other tests say little."""
    kinds = Counter(outcome[0] for _, allowed in batch for outcome in allowed)
    panics = {outcome[1] for _, allowed in batch for outcome in allowed if outcome[0] == "panic"}
    assert set(kinds) == {"done", "panic", "deadlock"} and min(kinds.values()) > len(batch) // 20, kinds
    assert len(panics) == 5, panics
    assert sum(len(allowed) == 1 for _, allowed in batch) > len(batch) // 20


def test_ramet(batch):
    """In a process without other threads: where there are some, nothing is a deadlock for sure."""
    jobs = [(program, seed, allowed) for program, allowed in batch for seed in RUNS]
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAMET_")}
    p = subprocess.run(
        [sys.executable, HERE / "interpreter.py"],
        input="".join(json.dumps([program, seed]) + "\n" for program, seed, _ in jobs),
        capture_output=True,
        text=True,
        env=env,
        timeout=1000 if SLOW else 180,
    )
    assert p.returncode == 0, p.stderr[-3000:]
    lines = p.stdout.splitlines()
    assert len(lines) == len(jobs), p.stderr[-3000:]
    for (program, seed, allowed), line in zip(jobs, lines, strict=True):
        check("ramet", program, seed, allowed, json.loads(line))


def test_go(batch, tmp_path):
    """That the model is a model of Go."""
    if not shutil.which("go"):
        pytest.skip("there is no go on the path")
    built = subprocess.run(
        ["go", "build", "-o", tmp_path / "interpreter", "interpreter.go"], cwd=HERE, capture_output=True, text=True
    )
    if built.returncode:
        pytest.skip(f"this go does not build: {built.stderr.strip()[-300:]}")
    with ThreadPoolExecutor(4) as pool:
        jobs = [(program, seed, allowed) for program, allowed in batch for seed in (RUNS if SLOW else (0, 1))]
        outcomes = pool.map(lambda job: run_go(tmp_path / "interpreter", *job[:2]), jobs)
        for (program, seed, allowed), got in zip(jobs, outcomes, strict=True):
            check("Go", program, seed, allowed, got)


def run_go(interpreter, program, seed):
    p = subprocess.run([interpreter, json.dumps(program), str(seed)], capture_output=True, text=True, timeout=180)
    logs = [[] for _ in program["Procs"]]
    for line in p.stdout.splitlines():
        at, text = line.split(" ", 1)
        if text.startswith("panic "):
            return ["panic", text.removeprefix("panic "), int(at), logs[int(at)]]
        if text == '["end"]':
            return ["done", logs[0]]
        logs[int(at)].append(json.loads(text))
    if "all goroutines are asleep" in p.stderr:
        return ["deadlock", logs]
    return ["panic", p.stderr, -1, []]  # among the allowed of no program
