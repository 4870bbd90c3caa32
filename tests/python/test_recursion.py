"""Deep recursion in a goroutine ends as in plain Python, by RecursionError or MemoryError, never by a crash.

What may overflow the C stack runs in a process of its own, with the smallest stack and with the default one.
"""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import ramet
from helpers import run_py
from ramet import Chan, go, gosched

T = 60.0
SIZES = [128 << 10, 512 << 10]

# Each is a function that recurses until something gives: see `prelude` for what may.
CASES = {
    "python": """
        def f(n): return 1 + f(n + 1)
        f(0)
    """,
    "method": """
        class A:
            def f(self): return [self.f() for _ in range(2)]
        A().f()
    """,
    "getattr": """
        class A:
            def __getattr__(self, name): return getattr(self, name + "x"[:0])
        A().a
    """,
    "call": """
        class A: pass
        A.__call__ = A()
        A()()
    """,
    "repr": """
        class A:
            def __repr__(self): return repr([self])
        repr(A())
    """,
    "repr_nested": """
        a = []
        for _ in range(100_000): a = [a]
        repr(a)
    """,
    "str_format": """
        class A:
            def __format__(self, spec): return f"{self}"
            __str__ = lambda self: format(self)
        format(A())
    """,
    "eq_nested": """
        a, b = [], []
        for _ in range(100_000): a, b = [a], [b]
        a == b
    """,
    "hash_nested": """
        a = ()
        for _ in range(100_000): a = (a,)
        hash(a)
    """,
    "sorted": """
        def key(x): return sorted([1, 2, 3], key=key)
        key(1)
    """,
    "sorted_lt": """
        class A:
            def __lt__(self, other): return sorted([A(), A()])
        sorted([A(), A()])
    """,
    "reduce": """
        import functools
        def f(a, b): return functools.reduce(f, [a, b])
        f(1, 2)
    """,
    "map": """
        it = iter([1])
        for _ in range(100_000): it = map(int, it)
        next(it)
    """,
    "partial": """
        import functools
        f = lambda: g()
        g = functools.partial(f)
        g()
    """,
    "isinstance": """
        t = ()
        for _ in range(100_000): t = (t,)
        isinstance(1, t)
    """,
    "json_dumps": """
        import json
        a = []
        for _ in range(100_000): a = [a]
        json.dumps(a)
    """,
    "json_loads": """
        import json
        json.loads("[" * 100_000 + "]" * 100_000)
    """,
    "pickle": """
        import pickle
        a = []
        for _ in range(100_000): a = [a]
        pickle.dumps(a)
    """,
    "copy": """
        import copy
        a = []
        for _ in range(100_000): a = [a]
        copy.deepcopy(a)
    """,
    "re_nested": """
        import re
        re.compile("(" * 5_000 + ")" * 5_000)
    """,
    "compile_binary": """
        compile("+".join(["x"] * 20_000), "f", "eval")
    """,
    "compile_unary": """
        compile("-" * 20_000 + "x", "f", "eval")
    """,
    "compile_attributes": """
        compile("x" + ".x" * 20_000, "f", "eval")
    """,
    "generator": """
        def f(): yield from f()
        next(f())
    """,
    "init": """
        class A:
            def __init__(self): A()
        A()
    """,
    "exec": """
        def f(): exec("f()")
        f()
    """,
    "warn": """
        class M(type):
            def __instancecheck__(self, o): return isinstance(o, A)
        class A(metaclass=M): pass
        isinstance(1, A)
    """,
    "coroutine": """
        async def f(): await f()
        f().send(None)
    """,
    "property": """
        class A:
            @property
            def x(self): return self.x
        A().x
    """,
    "super": """
        class A:
            def __eq__(self, o): return super().__ne__(o)
            def __ne__(self, o): return self == o
        A() == A()
    """,
    "ctypes_callback": """
        import ctypes
        compare_t = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
        qsort = ctypes.PyDLL(None).qsort
        @compare_t
        def compare(a, b):
            qsort((ctypes.c_int * 2)(2, 1), 2, 4, compare)
            return 0
        import sys
        sys.unraisablehook = lambda u: None
        qsort((ctypes.c_int * 2)(2, 1), 2, 4, compare)
    """,
    # these must succeed, whatever the size
    "ok dealloc_list": """
        a = []
        for _ in range(100_000): a = [a]
        del a
    """,
    "ok dealloc_mixed": """
        class N:
            def __init__(self, x): self.x = x
        a = None
        for _ in range(30_000): a = N((a, {"k": [a]}))
        del a
    """,
    "ok dealloc_del": """
        class N:
            n = 0
            def __init__(self, x): self.x = x
            def __del__(self): N.n += 1
        a = None
        for _ in range(20_000): a = N(a)
        del a
        assert N.n == 20_000
    """,
    "ok dealloc_del_switches": """
        from ramet import gosched
        class N:
            n = 0
            def __init__(self, x): self.x = x
            def __del__(self):
                N.n += 1
                if N.n % 50 == 0: gosched()
        a = None
        for _ in range(5_000): a = N(a)
        del a
        assert N.n == 5_000
    """,
    "ok dealloc_generators": """
        def g(x):
            try: yield x
            finally: pass
        a = None
        for _ in range(5_000):
            a = g(a); next(a)
        del a
    """,
    "ok dealloc_exceptions": """
        e = None
        for _ in range(20_000):
            n = ValueError(); n.__cause__ = e; e = n
        del e, n
    """,
    "ok gc_of_a_long_chain": """
        import gc
        class N: pass
        first = n = N()
        for _ in range(50_000):
            m = N(); m.prev = n; n = m
        first.last = n
        del first, n, m
        gc.collect()
    """,
    "ok re": r"""
        import re
        assert re.match(r"(?:a|b)*c", "ab" * 100_000 + "c")
        assert re.match(r"((a)|(b))*c", "ab" * 1000 + "c")
        re.compile("(" * 50 + "x" + ")" * 50)
    """,
    "ok imports": """
        import email.message, http.client, xml.etree.ElementTree, logging, decimal, argparse, inspect
        compile(inspect.getsource(argparse), "argparse.py", "exec")
        compile("+".join(["x"] * 500), "f", "eval")
    """,
}

prelude = """
import sys, threading
import ramet
from ramet import go, gosched

GOOD = (RecursionError, MemoryError, SyntaxError)
source = {source!r}
name = {name!r}
faulty = not name.startswith("ok ")

def recurse():
    try:
        exec(compile(source, name, "exec"), {{"__name__": name}})
    except GOOD as e:
        kind = type(e).__name__
        e.__traceback__ = None
        del e
        # the same room as before, at once: whoever catches it may go on
        assert sum(len(str([i] * 10)) for i in range(10)) > 0
        return kind
    return "fine"

def twice():
    first = recurse()
    return first, recurse()

def after_a_switch():
    first = recurse()
    gosched()
    return first, recurse()

results = [go(twice).join(50)]
a, b = go(after_a_switch), go(after_a_switch)
results += [a.join(50), b.join(50)]
results += [go(recurse).join(50) for _ in range(3)]
print(name, results)
def flat(r): return [r] if isinstance(r, str) else [s for x in r for s in flat(x)]
if not faulty:
    assert set(flat(results)) == {{"fine"}}, results
def deep(n): return 0 if n == 0 else 1 + deep(n - 1)
assert go(deep, 800).join() == 800
assert deep(800) == 800
"""


def environment(**more):
    path = str(Path(ramet.__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": path + os.pathsep + os.environ.get("PYTHONPATH", ""), **more}


def python(code, stack_size=None, *options, timeout=180):
    env = environment(**({"RAMET_STACK_SIZE": str(stack_size)} if stack_size else {}))
    return subprocess.run(
        [sys.executable, *options, "-c", code], env=env, capture_output=True, text=True, timeout=timeout
    )


def may_die(name, size):
    """Recursion that this CPython does not count: on a main thread it has 8 MiB, or crashes there, too."""
    if name in ("hash_nested", "map"):
        return True
    if name == "compile_unary":  # the parser
        return sys.version_info < (3, 14)
    return name.startswith("compile_") and sys.version_info < (3, 12) and size < 256 << 10


def named_death(p):
    return p.returncode in (-signal.SIGSEGV, -signal.SIGBUS) and "ramet: goroutine 2 (" in p.stderr


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s >> 10}K")
@pytest.mark.parametrize("name", CASES, ids=lambda s: s.replace(" ", "-"))
def test_recursion(name, size):
    if hasattr(sys, "gettotalrefcount") and name.startswith("ok dealloc_del") and size < 256 << 10:
        pytest.skip("debug build: it puts off what a deallocation would call on so small a stack, a thread's, too")
    source = textwrap.dedent(CASES[name])
    name = "imports" if name == "ok imports" and size < 256 << 10 else name  # compile() needs 100 KiB
    p = python(prelude.format(source=source, name=name), size)
    if p.returncode and may_die(name, size):
        assert named_death(p), (p.returncode, p.stderr)
    else:
        assert p.returncode == 0, p.stdout + p.stderr[-3000:]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s >> 10}K")
def test_one_kind_after_another_without_a_switch(size):
    names = ["repr", "sorted", "python", "getattr", "reduce", "sorted_lt", "json_dumps", "call"]
    sources = [textwrap.dedent(CASES[n]) for n in names] * 3
    code = f"""
        import sys, ramet
        def f():
            kinds = []
            for source in {sources!r}:
                try:
                    exec(compile(source, "s", "exec"), {{}})
                except RecursionError as e:
                    kinds.append(1)
                del source
                assert len(repr([[[[[[1]]]]]])) == 13
            return len(kinds)
        for _ in range(3):
            assert ramet.go(f).join() == {len(sources)}
    """
    p = python(textwrap.dedent(code), size)
    assert p.returncode == 0, p.stdout + p.stderr[-3000:]


def test_the_whole_depth_is_there_again_after_an_overflow():
    def nested(n):
        a = []
        for _ in range(n):
            a = [a]
        return a

    def most():
        low, high = 10, 100_000
        while high - low > 1:
            n = (low + high) // 2
            try:
                repr(nested(n))
                low = n
            except RecursionError:
                high = n
        return low

    first = go(most).join(T)
    assert first > 300
    g, h = go(most), go(most)
    # not to the frame: stacks do not begin at the same place of their pages
    assert first - 20 <= min(g.join(T), h.join(T)) and max(g.join(T), h.join(T)) <= first + 20


def test_limit_changed_while_goroutines_are_parked():
    def deep(n, c):
        return 0 * c.recv() if n == 0 else 1 + deep(n - 1, c)

    def count():
        try:
            return 1 + count()
        except RecursionError:
            return 1

    c = Chan()
    old = sys.getrecursionlimit()
    gs = [go(deep, n, c) for n in (5, 100, 500)]
    gosched()
    try:
        sys.setrecursionlimit(old + 1000)
        with_more = go(count).join(T)
        for _ in range(100):
            gosched()
        sys.setrecursionlimit(old)
        assert with_more - go(count).join(T) == 1000
        sys.setrecursionlimit(old + 50)
        for g in gs:
            c.send(1)
        assert [g.join(T) for g in gs] == [5, 100, 500]
    finally:
        sys.setrecursionlimit(old)
    assert go(count).join(T) == with_more - 1000


def test_limit_below_the_depth_of_a_parked_goroutine():
    code = """
        import sys
        from ramet import Chan, go, gosched
        def deep(n, c):
            if n: return 1 + deep(n - 1, c)
            v = c.recv()
            try:
                (lambda: 0)()
            except RecursionError:
                return v
        c = Chan()
        g = go(deep, 600, c)
        gosched()
        sys.setrecursionlimit(300)
        c.send(1)
        assert g.join() == 601
    """
    p = python(textwrap.dedent(code))
    assert p.returncode == 0, p.stderr


def test_depth_after_switches_while_a_recursion_error_is_made():
    """By a collection that the new exception causes; 3.11 counts below zero there."""
    code = """
        import gc
        from ramet import go, gosched

        def count():
            try:
                1 / 0
            except ZeroDivisionError:
                try:
                    return 1 + count()
                except RecursionError:
                    return 1

        def switch(phase, info):
            global switches
            switches += 1
            gosched()

        def counts():
            first = count()
            gc.callbacks.append(switch)
            gc.set_threshold(1, 0)
            for _ in range(5):
                count()
            while switches < 100:  # free-threaded builds count allocations by the hundred
                count()
            gc.disable()
            return first, count()

        def other():
            while not g.done():
                gosched()

        switches = 0
        g = go(counts)
        go(other)
        first, last = g.join()
        assert first == last, (first, last)
    """
    p = python(textwrap.dedent(code))
    assert p.returncode == 0, p.stderr


def test_a_thousand_goroutines_each_five_hundred_deep():
    def deep(n, c):
        if n == 0:
            return c.recv()
        return 1 + deep(n - 1, c)

    c = Chan()
    gs = [go(deep, 500, c) for _ in range(1000)]
    gosched()
    for _ in gs:
        c.send(0)
    assert {g.join(T) for g in gs} == {500}


def test_recursion_errors_in_many_goroutines_in_turn():
    class Nested:
        def __init__(self, deep):
            self.deep = deep

        def __repr__(self):
            gosched()
            return repr(Nested(self.deep + 1))

    def f():
        for _ in range(3):
            with pytest.raises(RecursionError):
                repr(Nested(0))
        return "fine"

    gs = [go(f) for _ in range(10)]
    assert [g.join(T) for g in gs] == ["fine"] * 10


def test_decimal_with_a_million_digits():
    def f():
        import decimal

        with decimal.localcontext() as ctx:
            ctx.prec, ctx.Emax = 2_000_000, decimal.MAX_EMAX
            x = decimal.Decimal("7" * 1_000_000)
            return len(str(x * x))

    assert go(f).join(T) == 2_000_000


def test_big_int_to_str():
    def f():
        old = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            return len(str(1 << 400_000))
        finally:
            sys.set_int_max_str_digits(old)

    assert go(f).join(T) == 120_412


NESTED = {
    "Chan": "filled(ramet.Chan(1), inner)",
    "Queue": "filled(sync.Queue(), inner)",
    "LifoQueue": "filled(sync.LifoQueue(), inner)",
    "PriorityQueue": "filled(sync.PriorityQueue(), inner)",
    "SimpleQueue": "filled(sync.SimpleQueue(), inner)",
    "subclass": "filled(Mine(), inner)",
    "Goroutine": "ended(ramet.go(lambda: inner))",
    "Case": "ramet.Chan().if_send(inner)",
    "Case of a Goroutine": "ended(ramet.go(lambda: inner)).if_done()",
    "Selection": "ramet.select(filled(ramet.Chan(1), inner))",
    "Selection of a Case": "ramet.select(ramet.Chan(1).if_send(inner))",
    "Cond": "sync.Cond(inner or sync.Mutex())",
    "Timer": "stopped(ramet.time.after_func(3600, print, inner))",
    "Timer of a method": "stopped(ramet.time.after_func(3600, inner.stop if inner else print))",
}


@pytest.mark.parametrize("make", NESTED.values(), ids=NESTED)
def test_objects_in_objects_in_objects_go(make):
    ended = run_py(
        f"""
import ramet
from ramet import sync
class Mine(sync.Queue): pass
def filled(container, inner):
    (container.send if hasattr(container, "send") else container.put)(inner)
    return container
def ended(g):
    g.join()
    return g
def stopped(t):
    t.stop()
    return t
def nest(inner):
    return {make}
def f():
    inner = None
    for _ in range(100_000):
        inner = nest(inner)
f()
ramet.go(f).join()
print("gone")
""",
        timeout=180,
    )
    assert ended.out == "gone\n", str(ended)


# ---- what is fatal names the goroutine ------------------------------------------------------------------

# who enables faulthandler after our first use has it behind us within a tick of the runtime's watcher
FIRST = """import faulthandler, ramet, ramet.debug, time
def be_first():
    end = time.monotonic() + 50
    while [h.where for h in ramet.debug.hooks() if h.name in ("SIGSEGV handler", "SIGBUS handler")] != ["sigaction"] * 2:
        assert time.monotonic() < end
        ramet.gosched()
"""

FATAL = """
    def f():
        ramet.current().name = "deep one"
        it = iter([1])
        for _ in range(100_000): it = map(int, it)
        next(it)
    {before}
    ramet.go(ramet.gosched).join()
    {after}
    be_first()
    ramet.go(f).join()
"""


@pytest.mark.parametrize("when", ["never", "before", "after"])
def test_fatal_overflow_names_the_goroutine(when):
    enable = "faulthandler.enable()"
    code = FATAL.format(before=enable if when == "before" else "", after=enable if when == "after" else "")
    p = python(FIRST + textwrap.dedent(code))
    assert p.returncode == -signal.SIGSEGV, (p.returncode, p.stderr)
    assert "ramet: goroutine 3 (deep one): stack overflow" in p.stderr
    assert ("Fatal Python error: Segmentation fault" in p.stderr) == (when != "never")
    assert p.stderr.count("Fatal Python error") <= 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_recursion_error_with_faulthandler(when):
    code = """
        def key(x): return sorted([1, 2, 3], key=key)
        def f():
            try:
                key(1)
            except RecursionError:
                return "fine"
        {before}
        ramet.go(ramet.gosched).join()
        {after}
        be_first()
        assert ramet.go(f).join() == "fine"
        faulthandler.disable()
        be_first()
        assert ramet.go(f).join() == "fine"
    """
    enable = "faulthandler.enable()"
    code = code.format(before=enable if when == "before" else "", after=enable if when == "after" else "")
    p = python(FIRST + textwrap.dedent(code), None, "-W", "ignore")
    assert p.returncode == 0, p.stderr
    assert p.stderr == ""


def test_other_faults_are_as_without_us():
    code = "import ctypes, ramet; ramet.go({f}).join(); {f}()"
    fault = "(lambda: ctypes.string_at(0))"
    p = python(code.format(f=fault))
    assert p.returncode == -signal.SIGSEGV
    assert "overflow" not in p.stderr
    p = python("import faulthandler; faulthandler.enable(); " + code.format(f=fault))
    assert p.returncode == -signal.SIGSEGV
    assert p.stderr.count("Fatal Python error: Segmentation fault") == 1


@pytest.mark.parametrize("first", ["faulthandler.enable()", ""], ids=["before us", "after us"])
@pytest.mark.parametrize("times", [1, 2, 9])
def test_other_faults_end_the_process_after_faulthandler(first, times):
    """Once disabled, its handler ignores what it gets: a fault that is passed to it comes back for ever."""
    code = """
        import ctypes
        {first}
        ramet.go(ramet.gosched).join()
        for _ in range({times}):
            faulthandler.enable()
            be_first()
            faulthandler.disable()
            {between}
        ctypes.string_at(0)
    """
    for between in ("be_first()", ""):
        p = python(FIRST + textwrap.dedent(code.format(first=first, times=times, between=between)))
        assert p.returncode == -signal.SIGSEGV
        assert p.stderr == ""
