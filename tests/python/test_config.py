"""configure() and the RAMET_* variables."""

import pytest
from helpers import run_py

PROBE = """
import ramet
ramet.go(int).join()
print("ok")
"""


def test_before_first_use():
    ended = run_py("import ramet\nramet.configure(procs=1, stack_size=1 << 20, max_threads=2, seed=5)\n" + PROBE)
    assert ended.out == "ok\n" and ended.err == "", str(ended)


def test_may_be_called_again_before_first_use():
    run_py("import ramet\nramet.configure(max_threads=2)\nramet.configure(max_threads=3)\nramet.configure()\n" + PROBE)


@pytest.mark.parametrize(
    "option", ["procs=1", "preempt=True", "preempt=False", "stack_size=1 << 20", "max_threads=2", "seed=5"]
)
def test_after_first_use(option):
    code = f"""
import ramet
ramet.gosched()
try:
    ramet.configure({option})
except RuntimeError as e:
    print(e)
ramet.configure()
"""
    ended = run_py(code)
    assert option.split("=")[0] in ended.out, str(ended)


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("procs=0", "ValueError"),
        ("procs=-1", "ValueError"),
        ("procs='1'", "TypeError"),
        ("procs=True", "TypeError"),
        ("preempt=1", "TypeError"),
        ("preempt='yes'", "TypeError"),
        ("stack_size=1", "ValueError"),
        ("stack_size=1 << 40", "ValueError"),
        ("stack_size=-1", "ValueError"),
        ("stack_size=1.5", "TypeError"),
        ("max_threads=0", "ValueError"),
        ("max_threads=100000", "ValueError"),
        ("max_threads='x'", "TypeError"),
        ("seed=-1", "ValueError"),
        ("seed=2**64", "ValueError"),
        ("seed=[]", "TypeError"),
        ("unknown=1", "TypeError"),
    ],
)
def test_bad_values(option, error):
    code = f"""
import ramet
try:
    ramet.configure({option})
except {error} as e:
    print(e)
"""
    ended = run_py(code + PROBE)
    assert option.split("=")[0] in ended.out and ended.out.endswith("ok\n"), str(ended)


def test_positional_is_refused():
    run_py("import ramet\ntry: ramet.configure(1)\nexcept TypeError: raise SystemExit(3)", status=3)


def test_stack_size_is_what_a_goroutine_has():
    """A bigger stack takes deeper recursion through C."""
    code = """
import functools, ramet, sys
sys.setrecursionlimit(1_000_000)
def depth(n=0):
    try:
        return functools.reduce(lambda a, b: depth(n + 1), (1, 2))
    except RecursionError:
        return n
print(ramet.go(depth).join())
"""
    small = int(run_py("import ramet\nramet.configure(stack_size=256 << 10)\n" + code).out)
    big = int(run_py("import ramet\nramet.configure(stack_size=8 << 20)\n" + code).out)
    assert big > small > 10, (small, big)


def test_max_threads():
    code = """
import ramet, time
gs = [ramet.go(ramet.blocking, time.sleep, 0.01) for _ in range(20)]
for g in gs: g.join()
print(ramet.stats()["pool_threads"])
"""
    assert run_py("import ramet\nramet.configure(max_threads=2)\n" + code).out == "2\n"
    assert run_py(code, env={"RAMET_MAX_THREADS": "3"}).out == "3\n"


SEED = """
import ramet
chans = [ramet.Chan(1) for _ in range(8)]
for c in chans: c.send(1)
order = []
for _ in range(40):
    s = ramet.select(*chans)
    order.append(s.index)
    s.chan.send(1)
print(order)
"""


def test_seed():
    a = run_py("import ramet\nramet.configure(seed=1)\n" + SEED).out
    b = run_py("import ramet\nramet.configure(seed=1)\n" + SEED).out
    c = run_py("import ramet\nramet.configure(seed=2)\n" + SEED).out
    d = run_py(SEED, env={"RAMET_SEED": "1"}).out
    assert a == b == d != c


def test_environment():
    env = {"RAMET_PROCS": "1", "RAMET_STACK_SIZE": "0x100000", "RAMET_MAX_THREADS": "5", "RAMET_SEED": "7"}
    ended = run_py(PROBE, env=env)
    assert ended.out == "ok\n" and ended.err == "", str(ended)


def test_empty_environment_is_none():
    ended = run_py(PROBE, env={"RAMET_PROCS": "", "RAMET_SEED": ""})
    assert ended.out == "ok\n" and ended.err == "", str(ended)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAMET_PROCS", "many"),
        ("RAMET_PROCS", "0"),
        ("RAMET_PREEMPT", "yes"),
        ("RAMET_PREEMPT", "2"),
        ("RAMET_PREEMPT_INTERVAL", "0"),
        ("RAMET_PREEMPT_INTERVAL", "nan"),
        ("RAMET_STACK_SIZE", "12"),
        ("RAMET_STACK_SIZE", "1.5"),
        ("RAMET_MAX_THREADS", "-3"),
        ("RAMET_SEED", "0"),
    ],
)
def test_bad_environment_is_reported_and_ignored(name, value):
    ended = run_py(PROBE, env={name: value})
    assert ended.out == "ok\n" and name in ended.err and value in ended.err, str(ended)


def test_configure_wins_over_the_environment():
    code = "import ramet\nramet.configure(seed=1)\n" + SEED
    assert run_py(code, env={"RAMET_SEED": "99"}).out == run_py(code).out
