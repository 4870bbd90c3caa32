"""Deep recursion in a goroutine ends as in plain Python, by RecursionError or MemoryError, never by a crash.

What may overflow the C stack runs in a process of its own, with the smallest stack and with the default one.
"""

import functools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import ramet
from ramet import Chan, go, gosched

T = 20.0
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

prelude = '''
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

results = [go(twice).join(60)]
a, b = go(after_a_switch), go(after_a_switch)
results += [a.join(60), b.join(60)]
results += [go(recurse).join(60) for _ in range(3)]
print(name, results)
def flat(r): return [r] if isinstance(r, str) else [s for x in r for s in flat(x)]
if not faulty:
    assert set(flat(results)) == {{"fine"}}, results
def deep(n): return 0 if n == 0 else 1 + deep(n - 1)
assert go(deep, 800).join() == 800
assert deep(800) == 800
'''


def environment(**more):
    path = str(Path(ramet.__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": path + os.pathsep + os.environ.get("PYTHONPATH", ""), **more}


def python(code, stack_size=None, *options, timeout=50):
    env = environment(**({"RAMET_STACK_SIZE": str(stack_size)} if stack_size else {}))
    return subprocess.run(
        [sys.executable, *options, "-c", code], env=env, capture_output=True, text=True, timeout=timeout
    )


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s >> 10}K")
@pytest.mark.parametrize("name", CASES, ids=lambda s: s.replace(" ", "-"))
def test_recursion(name, size):
    p = python(prelude.format(source=textwrap.dedent(CASES[name]), name=name), size)
    assert p.returncode == 0, p.stdout + p.stderr[-3000:]
