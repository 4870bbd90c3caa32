"""What of the language has a state that a switch must not touch: generators, exceptions, contexts, recursion, tracing, imports."""

import contextlib
import contextvars
import ctypes
import functools
import itertools
import sys
import tempfile
import threading
from pathlib import Path

import ramet
from kit import NoCollections, T, pause, same, spin, together, tracing, work
from ramet import Chan, go, gosched, sync

# ---- generators -----------------------------------------------------------------------------------------------------


class Thrown(Exception):
    pass


def sums(r, log):
    """Sends what it has got so far; 'thrown' for what is thrown into it."""
    total = 0
    try:
        while True:
            try:
                total += yield total
            except Thrown as e:
                pause(r)
                log.append(e.args[0])
                assert sys.exc_info()[1] is e
            pause(r)
    finally:
        pause(r)
        log.append("closed")


@work()
def generators(r):
    """Resumed by many goroutines in turn, thrown into, closed, delegated to."""
    log, want, total = [], [], 0

    def outer():
        yield from sums(r, log)

    g = outer() if r.random() < 0.5 else sums(r, log)
    same(next(g), 0)
    for i in range(r.randrange(1, 12)):
        call = go if r.random() < 0.3 else None
        if r.random() < 0.2:
            got = call(g.throw, Thrown(i)).join(T) if call else g.throw(Thrown(i))
            want.append(i)
        else:
            total += i
            got = call(g.send, i).join(T) if call else g.send(i)
        same(got, total)
    if r.random() < 0.5:
        g.close()
    else:
        go(g.close).join(T)
    same(log, [*want, "closed"])


@work(2)
def generators_at_work(r):
    """One that is parked refuses everybody else."""
    c = Chan()

    def gen():
        yield c.recv(T)
        yield 2

    g = gen()
    first = go(next, g)
    while first.state != "chan receive":
        gosched()
    for call in (lambda: next(g), lambda: g.throw(Thrown()), g.close):
        try:
            go(call).join(T) if r.random() < 0.5 else call()
        except ValueError as e:
            assert "already executing" in str(e)
        else:
            raise AssertionError("it ran twice at once")
    c.send(1)
    same(first.join(T), 1)
    same(list(g), [2])


def drive(awaitable):
    try:
        while True:
            awaitable.send(None)
    except StopIteration as e:
        return e.value


@work()
def async_generators(r):
    """Driven by hand from several goroutines; their hooks are the goroutine's own."""
    log = []

    async def numbers(n):
        try:
            for i in range(n):
                pause(r)
                try:
                    yield i
                except Thrown as e:
                    yield e.args[0]
        finally:
            pause(r)
            log.append("closed")

    async def total(n):
        return sum([i async for i in numbers(n)])

    def one():
        begun, dropped = [], []
        old = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=begun.append, finalizer=dropped.append)
        a = numbers(5)
        same(drive(a.__anext__()), 0)
        pause(r)
        same(len(begun), 1)
        assert begun.pop() is a
        where = go if r.random() < 0.5 else None
        same(go(drive, a.athrow(Thrown("t"))).join(T) if where else drive(a.athrow(Thrown("t"))), "t")
        pause(r)
        del a
        same(len(dropped), 1)  # by our hook, not another goroutine's
        drive(dropped.pop().aclose())
        sys.set_asyncgen_hooks(*old)

    same(drive(total(6)), 15)
    together(r, one, one)
    same(log, ["closed"] * 3)
    same(sys.get_asyncgen_hooks(), (None, None))


# ---- exceptions -----------------------------------------------------------------------------------------------------


@work()
def exceptions(r):
    """In flight, chained, handled, raised again; each with its own traceback."""

    def fail(n):
        try:
            pause(r)
            raise LookupError(n)
        finally:
            pause(r)

    def chain(n):
        if n == 0:
            fail(n)
        try:
            chain(n - 1)
        except LookupError as e:
            pause(r)
            assert sys.exc_info()[1] is e
            if n % 2:
                raise LookupError(n) from e
            raise LookupError(n)  # noqa: B904

    n = r.randrange(1, 6)
    try:
        chain(n)
    except LookupError as e:
        pause(r)
        link, depth = e, n
        while link:
            same(link.args, (depth,))
            same(link.__cause__ is link.__context__ and link.__cause__ is not None, depth % 2 == 1)
            link, depth = link.__context__, depth - 1
        same(depth, -1)
        tb, names = e.__traceback__, []
        while tb:
            names.append(tb.tb_frame.f_code.co_name)
            tb = tb.tb_next
        same(names, ["exceptions", "chain"])
    same(sys.exc_info(), (None, None, None))


@work()
def groups(r):
    """except* splits, and puts together again what is not handled."""
    want = r.choices((ValueError, KeyError, OSError), k=r.randrange(1, 8))
    seen = []

    def inside():
        try:
            pause(r)
            raise ExceptionGroup("g", [kind(i) for i, kind in enumerate(want)])
        except* ValueError as g:
            pause(r)
            seen.extend(e.args[0] for e in g.exceptions)
        except* KeyError as g:
            spin(r)
            seen.extend(e.args[0] for e in g.exceptions)

    try:
        inside()
    except ExceptionGroup as g:
        pause(r)
        same([e.args[0] for e in g.exceptions], [i for i, k in enumerate(want) if k is OSError])
    else:
        assert OSError not in want
    same(sorted(seen), [i for i, k in enumerate(want) if k is not OSError])


@work(2)
def blocks(r):
    """with, finally and return, one within the other."""
    log = []

    @contextlib.contextmanager
    def block(n, swallow):
        log.append(n)
        pause(r)
        try:
            yield
        except Thrown:
            pause(r)
            if not swallow:
                raise
        finally:
            log.append(-n)

    def leave():
        for i in itertools.count():
            try:
                with block(1, True), block(2, False):
                    spin(r)
                    if i == 1:
                        return "left"
                    raise Thrown
            finally:
                pause(r)
                log.append(0)

    same(leave(), "left")
    same(log, [1, 2, -2, -1, 0] * 2)


# ---- what is a goroutine's own --------------------------------------------------------------------------------------

var = contextvars.ContextVar("var", default=None)
local = threading.local()


@work()
def contexts(r):
    mine = r.random()
    token = var.set(mine)

    def inside(n):
        same(var.get(), mine if n == 0 else n - 1)
        with_token = var.set(n)
        pause(r)
        same(var.get(), n)
        if n < 3:
            contextvars.copy_context().run(inside, n + 1)
        same(var.get(), n)
        same(go(var.get).join(T), n)
        var.reset(with_token)

    contextvars.copy_context().run(inside, 0)
    pause(r)
    same(var.get(), mine)
    var.reset(token)
    pause(r)
    same(var.get(), None)


@work()
def locals_of_goroutines(r):
    def inside(n):
        same(local.__dict__, {})
        local.n = n
        pause(r)
        same(local.__dict__, {"n": n})
        if n < 3:
            go(inside, n + 1).join(T)
        pause(r)
        same(local.n, n)

    together(r, *[lambda i=i: inside(i) for i in range(3)])
    same(hasattr(local, "n"), False)


class Shown:
    def __init__(self, r):
        self.r = r

    def __repr__(self):
        pause(self.r)
        return "s"


@work(2)
def reprs(r):
    """A list that holds itself, printed by several at once."""
    shared = [Shown(r), {1: Shown(r)}]
    shared.append(shared)
    same(together(r, *[lambda: repr(shared)] * 3), ["[s, {1: s}, [...]]"] * 3)


# ---- recursion ------------------------------------------------------------------------------------------------------


def count(r):
    """How deep one can go from here."""
    try:
        if r.random() < 0.001:
            gosched()
        return 1 + count(r)
    except RecursionError:
        return 1


class Calm:
    """Random numbers for where nothing may fail: never a switch of its own accord."""

    @staticmethod
    def random():
        return 1.0


@work(2)
def recursion(r):
    """As deep as ever before, and never a crash."""
    tracing.rlock()
    try:
        with NoCollections():

            def deep(n):
                return 1 + deep(n - 1) if n else spin(r) and 0

            def key(n):
                return functools.reduce(lambda a, b: sorted([1, 2], key=key)[0], (1, 2, 3))

            def show():
                return repr(Again())

            class Again:
                def __repr__(self):
                    return show()

            first = count(Calm)
            n = r.randrange(100, 600)
            same(deep(n), n)
            for forever in (lambda: key(1), show, lambda: hash(Hashed())):
                try:
                    forever()
                except RecursionError:
                    pass
                else:
                    raise AssertionError("no RecursionError")
                pause(r)
            # 3.11 counts calls of C functions, too: of a signal's handler, which then ends what is as deep as can be
            same(abs(count(Calm) - first) <= (sys.version_info < (3, 12)), True)
    finally:
        tracing.runlock()


class Hashed:
    def __hash__(self):
        return hash((Hashed(), 1))


# ---- C code that calls back -----------------------------------------------------------------------------------------


@work()
def sorts(r):
    """list.sort, min, heapq and functools call keys and comparisons that switch."""
    numbers = [r.randrange(50) for _ in range(r.randrange(30))]

    def key(n):
        pause(r)
        return -n

    def compare(a, b):
        pause(r)
        return a - b

    got = [(n, i) for i, n in enumerate(numbers)]
    got.sort(key=lambda pair: key(pair[0]))
    same(got, sorted(((n, i) for i, n in enumerate(numbers)), key=lambda p: (-p[0], p[1])))
    same(sorted(numbers, key=functools.cmp_to_key(compare)), sorted(numbers))
    same(min(numbers, key=key, default=None), max(numbers, default=None))
    same(functools.reduce(lambda a, b: (pause(r), a + b)[1], numbers, 0), sum(numbers))


class Key:
    """All in one bucket; comparing switches."""

    def __init__(self, r, n):
        self.r, self.n = r, n

    def __hash__(self):
        return 7

    def __eq__(self, other):
        pause(self.r)
        return self.n == other.n


@work()
def dicts(r):
    """A dict and a set of one's own that change, and a dict for all whose values change: lookups among changes of keys are CPython's luck."""
    shared = {Key(r, (me, n)): None for me in range(3) for n in range(3)}

    def change(me):
        mine, members, model, wanted = {}, set(), {}, {}
        for _ in range(12):
            n = r.randrange(5)
            if r.random() < 0.6:
                model[n] = mine[Key(r, n)] = r.random()
                members.add(Key(r, n))
            else:
                same(mine.pop(Key(r, n), None), model.pop(n, None))
                members.discard(Key(r, n))
            n = r.randrange(5)
            same((mine.get(Key(r, n)), Key(r, n) in members), (model.get(n), n in model))
            key = me, r.randrange(3)
            same(shared[Key(r, key)], wanted.get(key))
            wanted[key] = shared[Key(r, key)] = r.random()
        same(({k.n: v for k, v in mine.items()}, {k.n for k in members}), (model, set(model)))

    together(r, *[lambda i=i: change(i) for i in range(3)])


COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
libc = ctypes.CDLL(None)
libc.qsort.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, COMPARE]
libc.qsort.restype = None


@work(2)
def callbacks(r):
    """C code of others' below a switch, within itself, too. It keeps the GIL, as whatever calls Python back in its own thread."""

    def sort(depth):
        numbers = [r.randrange(1000) for _ in range(12)]
        array = (ctypes.c_int * len(numbers))(*numbers)

        def compare(a, b):
            pause(r)
            if depth and r.random() < 0.05:
                sort(depth - 1)
            return a[0] - b[0]

        libc.qsort(array, len(array), ctypes.sizeof(ctypes.c_int), COMPARE(compare))
        same(list(array), sorted(numbers))

    sort(2)


# ---- tracing --------------------------------------------------------------------------------------------------------


def traced(r, n):
    total = 0
    for i in range(n):
        total += i
        spin(r)
    return total


@work(1)
def traces(r):
    """The events of one function, whoever else runs meanwhile, and whoever else is called in the trace function."""
    tracing.lock()
    try:
        events, first = [], traced.__code__.co_firstlineno

        def trace(frame, event, arg):
            if frame.f_code is not traced.__code__ or frame.f_back is not here:
                return None
            events.append((event, frame.f_lineno - first))
            if r.random() < 0.2:
                pause(r)
            return trace

        n = r.randrange(1, 5)
        here = sys._getframe()
        use = sys.settrace if r.random() < 0.5 else sys.setprofile
        use(trace)
        try:
            got = traced(r, n)
        finally:
            use(None)
        same(got, sum(range(n)))
        lines = [1, *[2, 3, 4] * n, 2, 5]
        want = [("call", 0)] + [("line", line) for line in lines] * (use is sys.settrace) + [("return", 5)]
        same([e for e in events if e[0] in ("call", "line", "return")], want)
    finally:
        tracing.unlock()


# ---- imports --------------------------------------------------------------------------------------------------------

folder = tempfile.TemporaryDirectory(prefix="torture")
sys.path.insert(0, folder.name)
serial, importing = itertools.count(), sync.Mutex()
SUBMODULE = "began = 1\nfor i in range({n}): began += i\nfrom . import {other}\nvalue = {n}\n"


@work(1)
def imports(r):
    """Modules that compute while they are imported, and import one another. One goroutine imports at a time: a collection may
    come in the midst of it, and wait in a finalizer, and import locks do not know goroutines."""
    name, n = f"torture_{next(serial)}", r.randrange(100, 3000)
    path = Path(folder.name, name)
    path.mkdir()
    (path / "__init__.py").write_text("value = 0\n")
    (path / "a.py").write_text(SUBMODULE.format(n=n, other="b"))
    (path / "b.py").write_text(SUBMODULE.format(n=n + 1, other="a"))
    (path / "bad.py").write_text("from . import a\n1 / 0\n")

    def use(sub):
        pause(r)
        try:
            with importing:
                __import__(f"{name}.{sub}")
        except ZeroDivisionError:
            return "bad"
        return sys.modules[f"{name}.{sub}"].value

    try:
        same(together(r, *[lambda s=s: use(s) for s in ("a", "b", "bad", "a")]), [n, n + 1, "bad", n])
        same(f"{name}.bad" in sys.modules, False)
    finally:
        for m in ("", ".a", ".b"):
            sys.modules.pop(name + m, None)


@work(2)
def code(r):
    """exec, classes, comprehensions, match, and a goroutine that is current all the while."""
    me, ns = ramet.current(), {"pause": pause, "r": r}
    exec(
        "class C:\n    pause(r)\n    x = [(pause(r), i)[1] for i in range(9)]\n"
        "    def f(self):\n        match self.x:\n            case [0, *rest]: return rest\n",
        ns,
    )
    same(ns["C"]().f(), list(range(1, 9)))
    assert ramet.current() is me or ramet.current().id == me.id
