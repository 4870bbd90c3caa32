"""Tools that look at running code see goroutines: sys.monitoring, coverage.py, cProfile, pdb."""

import cProfile
import pstats
import subprocess
import sys
import textwrap

import pytest
import ramet
from helpers import T, environment, finish, run_py
from ramet import Chan, go, gosched

PREEMPTED = {"RAMET_PREEMPT": "1", "RAMET_PREEMPT_INTERVAL": "0.0005"}


# ---- sys.monitoring -------------------------------------------------------------------------------------


def watched(c, n):
    total = 0
    for i in range(n):
        total += c.recv()
    try:
        raise LookupError(total)
    except LookupError as e:
        return e.args[0]


def numbers(n):
    for i in range(n):
        gosched()
        yield i


@pytest.fixture
def monitoring():
    if sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in 3.12")
    m = sys.monitoring
    m.use_tool_id(3, "test")
    yield m
    for event in range(len(vars(m.events))):
        try:
            m.register_callback(3, 1 << event, None)
        except ValueError:
            pass
    m.set_events(3, 0)
    m.set_local_events(3, watched.__code__, 0)
    m.set_local_events(3, numbers.__code__, 0)
    m.free_tool_id(3)


def test_monitoring_counts_every_goroutine(monitoring):
    """Lines, starts, returns and raises of a function that many goroutines run in turns, each event in its goroutine."""
    m, seen = monitoring, {}

    def note(kind):
        def callback(code, *args):
            if code is watched.__code__:
                log = seen.setdefault(ramet.current().id, [])
                log.append(args[0] - code.co_firstlineno if kind == "line" else kind)
                if len(log) % 3 == 0:
                    gosched()  # it may switch, too

        return callback

    kinds = {"line": m.events.LINE, "start": m.events.PY_START, "return": m.events.PY_RETURN, "raise": m.events.RAISE}
    for kind, event in kinds.items():
        m.register_callback(3, event, note(kind))
    m.set_events(3, sum(kinds.values()))
    c = Chan()
    gs = [go(watched, c, 3) for _ in range(5)]
    for _ in range(15):
        c.send(1)
    assert [g.join(T) for g in gs] == [3] * 5
    m.set_events(3, 0)
    want = ["start", 1, *[2, 3] * 3, 2, 4, 5, "raise", 6, 7, "return"]
    assert set(seen) == {g.id for g in gs}
    assert [log for log in seen.values() if log != want] == []


def test_monitoring_of_generators_and_one_function_only(monitoring):
    m, log = monitoring, []
    m.register_callback(3, m.events.PY_YIELD, lambda code, offset, value: log.append(value))
    m.register_callback(3, m.events.PY_RESUME, lambda code, offset: log.append("resume"))
    m.set_local_events(3, numbers.__code__, m.events.PY_YIELD | m.events.PY_RESUME)
    assert [g.join(T) for g in [go(list, numbers(4)) for _ in range(3)]] == [[0, 1, 2, 3]] * 3
    assert sorted(map(str, log)) == sorted(["0", "1", "2", "3", *["resume"] * 4] * 3)


def test_monitoring_begun_while_goroutines_are_parked(monitoring):
    m, log, c = monitoring, [], Chan()
    gs = [go(watched, c, 2) for _ in range(3)]
    gosched()
    m.register_callback(3, m.events.RAISE, lambda code, offset, exc: log.append(code.co_name))
    m.register_callback(3, m.events.PY_RETURN, lambda code, offset, value: log.append(code.co_name))
    m.set_events(3, m.events.RAISE | m.events.PY_RETURN)
    for _ in range(6):
        c.send(1)
    assert [g.join(T) for g in gs] == [2] * 3
    m.set_events(3, 0)
    # before 3.15 a frame that runs already does not tell of its return
    assert log.count("watched") == (6 if sys.version_info >= (3, 15) else 3)


def test_monitoring_disabled_where_it_has_been(monitoring):
    m, lines = monitoring, []

    def line(code, number):
        lines.append(number - code.co_firstlineno)
        gosched()
        return m.DISABLE

    m.register_callback(3, m.events.LINE, line)
    m.set_local_events(3, watched.__code__, m.events.LINE)
    c = Chan()
    gs = [go(watched, c, 2) for _ in range(2)]
    for _ in range(4):
        c.send(1)
    assert [g.join(T) for g in gs] == [2] * 2
    assert set(lines) == {1, 2, 3, 4, 5, 6, 7}
    # two may be in it before the first has come back, and the loop's line is come to by two ways
    assert max(lines.count(n) for n in set(lines)) <= 4


# ---- coverage.py ------------------------------------------------------------------------------------------

COVERED = """\
import ramet
from ramet import Chan, go, gosched

def branches(c, n):
    for i in range(n):
        v = c.recv()
        if v % 2:
            odd = True
        else:
            odd = False
        gosched()
    if n > 100:
        never = 1
    return odd

def unused():
    return 1

def gen(n):
    for i in range(n):
        yield i
        gosched()
    try:
        raise KeyError
    except KeyError:
        gosched()
    except ValueError:
        never = 2

c = Chan()
gs = [go(branches, c, 4) for _ in range(5)] + [go(list, gen(3)) for _ in range(3)]
for i in range(20):
    c.send(i)
for g in gs:
    g.join()
"""
NOT_COVERED = {13, 17, 27, 28}


@pytest.mark.parametrize("preempt", [{}, PREEMPTED], ids=["", "preempted"])
@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"])
def test_coverage(core, preempt, tmp_path):
    coverage = pytest.importorskip("coverage", reason="there is no coverage.py for this interpreter")
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in 3.12")
    if core == "ctrace":
        pytest.importorskip("coverage.tracer", reason="this coverage.py has no C tracer")
    (tmp_path / "covered.py").write_text(COVERED)
    cmd = [sys.executable, "-m", "coverage", "run", "covered.py"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = environment(COVERAGE_CORE=core, **preempt)
    ended = finish(subprocess.Popen(cmd, cwd=tmp_path, env=env, text=True, **pipes), timeout=180)
    assert ended.err == "" and ended.out == "", str(ended)
    data = coverage.CoverageData(str(tmp_path / ".coverage"))
    data.read()
    (name,) = data.measured_files()
    code = {n for n, line in enumerate(COVERED.splitlines(), 1) if line.strip() and line.strip() != "else:"}
    assert code - set(data.lines(name)) == NOT_COVERED


# ---- cProfile ---------------------------------------------------------------------------------------------


def leaf():
    gosched()


def middle(n):
    for _ in range(n):
        leaf()


def test_cprofile_counts_calls_of_goroutines_that_switch():
    """Every call is counted; how the times and callers are told apart it does not know: it has one stack a thread."""
    p = cProfile.Profile()
    p.enable()
    gs = [go(middle, 10) for _ in range(5)]
    for g in gs:
        g.join(T)
    p.disable()
    stats = {key[2]: value for key, value in pstats.Stats(p).stats.items()}
    assert stats["leaf"][1] == 50 and stats["middle"][1] == 5, stats


def test_cprofile_of_one_goroutine():
    def profiled():
        p = cProfile.Profile()
        total = p.runcall(sum, [leaf() or i for i in range(5)])
        with p:
            middle(7)
        return total, {key[2]: value[:2] for key, value in pstats.Stats(p).stats.items()}

    total, stats = go(profiled).join(T)
    assert total == 10
    assert stats["leaf"] == (7, 7) and stats["middle"] == (1, 1)


def test_cprofile_by_command(tmp_path):
    (tmp_path / "profiled.py").write_text(COVERED)
    cmd = [sys.executable, "-m", "cProfile", "-s", "ncalls", "profiled.py"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    ended = finish(subprocess.Popen(cmd, cwd=tmp_path, env=environment(**PREEMPTED), text=True, **pipes), timeout=180)
    counts = {
        line.split(":")[-1]: line.split()[0].split("/")[0] for line in ended.out.splitlines() if "profiled.py:" in line
    }
    assert counts["4(branches)"] == "5" and counts["19(gen)"] == "12", str(ended)


# ---- pdb --------------------------------------------------------------------------------------------------

DEBUGGED = """\
import pdb, sys
import ramet
from ramet import Chan, go, gosched

def inner(c, name):
    local = name * 2
    got = c.recv()
    local += got
    return local

def outer(c, name):
    if name == "b":
        pdb.set_trace()
    value = inner(c, name)
    return value

def other(c):
    for text in ("x", "y", "z"):
        gosched()
        c.send(text)

c = Chan()
gs = [go(outer, c, name) for name in "abc"]
go(other, c)
print("results", [g.join()[:2] for g in gs])
"""


def pdb(tmp_path, commands, code=DEBUGGED, *args, **env):
    script = tmp_path / "debugged.py"
    script.write_text(code)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = environment(HOME=str(tmp_path), PYTHON_COLORS="0", **env)
    p = subprocess.Popen([sys.executable, *args, str(script)], env=env, text=True, cwd=tmp_path, **pipes)
    p.stdin.write("\n".join(commands) + "\n")
    p.stdin.close()
    p.stdin = None
    return finish(p, timeout=180)


def test_pdb_in_a_goroutine(tmp_path):
    """A breakpoint, a step over a park while the others run, where, up, print, continue. Not preempted: pdb is one for all."""
    commands = ["break 7", "continue", "clear 1", "where", "next", "p got", "next", "p local", "up", "p name"]
    ended = pdb(tmp_path, [*commands, "down", "step", "continue"])
    assert "results ['aa', 'bb', 'cc']" in ended.out and ended.err == "", str(ended)
    lines = ended.out.splitlines()
    at = [line.split("debugged.py")[1] for line in lines if line.startswith("> ") or "(Pdb) > " in line]
    inside = at[at.index("(7)inner()") :]
    assert inside[:4] == ["(7)inner()", "(7)inner()", "(8)inner()", "(9)inner()"], str(ended)  # stop, where, next, next
    assert any("debugged.py(14)outer()" in line for line in lines), str(ended)
    printed = [line.split("(Pdb) ")[-1] for line in lines]
    got = next(line for line in printed if line in ("'x'", "'y'", "'z'"))
    assert f"'bb{got[1:]}" in printed and "'b'" in printed, str(ended)


def test_pdb_begins_a_program(tmp_path):
    """python -m pdb: a breakpoint that several goroutines come by."""
    commands = [
        "break 9",
        "continue",
        "where",
        "p local",
        "continue",
        "p local",
        "continue",
        "p local",
        "continue",
        "quit",
    ]
    ended = pdb(tmp_path, commands, DEBUGGED.replace('if name == "b":', "if False:"), "-m", "pdb")
    assert "results ['aa', 'bb', 'cc']" in ended.out, str(ended)
    for name in "abc":
        assert f"'{name * 2}" in ended.out, str(ended)


def test_pdb_quit_in_a_goroutine(tmp_path):
    """It ends as the goroutine's exception, or the process: never by a hang."""
    script = textwrap.dedent(DEBUGGED)
    path = tmp_path / "d.py"
    path.write_text(script)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    p = subprocess.Popen([sys.executable, str(path)], env=environment(), text=True, cwd=tmp_path, **pipes)
    p.stdin.write("quit\n")
    p.stdin.close()
    p.stdin = None
    ended = finish(p, status=None, timeout=180)
    assert ended.code == 1 and ("bdb.BdbQuit" in ended.err or "will kill the process" in ended.out), str(ended)


def test_post_mortem_of_a_goroutine():
    code = """
import pdb, sys, io
from ramet import go
def f(x): return 1 / x
e = go(f, 0).exception()
out = io.StringIO()
p = pdb.Pdb(stdin=io.StringIO("p x\\nwhere\\nquit\\n"), stdout=out)
p.reset()
try: p.interaction(None, e.__traceback__ if sys.version_info < (3, 13) else e)
except SystemExit: pass
assert "0" in out.getvalue() and "in f" in out.getvalue() or "f()" in out.getvalue(), out.getvalue()
"""
    run_py(code)


def test_raising_in_a_frame_that_was_parked_when_tracing_began():
    """3.15 crashes in frames that it has not prepared for it."""

    def f():
        try:
            c.recv()
            raise KeyError
        except KeyError:
            return c.recv()

    c, old = Chan(), sys.gettrace()
    gs = [go(f) for _ in range(3)]
    gosched()
    sys.settrace(lambda frame, event, arg: None)
    try:
        for i in range(6):
            c.send(i)
        assert sorted(g.join(T) for g in gs) == [3, 4, 5]
    finally:
        sys.settrace(old)


def test_trace_functions_that_raise_end_tracing_and_nothing_else():
    def f(c):
        for _ in range(3):
            c.recv()
        return 1

    def trace(frame, event, arg):
        if frame.f_code is f.__code__ and event == "line":
            raise LookupError(event)
        return trace

    c, old = Chan(), sys.gettrace()
    gs = [go(f, c) for _ in range(2)]
    sys.settrace(trace)
    try:
        gosched()
        assert sys.gettrace() is None  # the first that ran has ended it
    finally:
        sys.settrace(old)
    assert isinstance(gs[0].exception(T), LookupError)
    for _ in range(3):
        c.send(0)
    assert gs[1].join(T) == 1
