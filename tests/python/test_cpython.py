"""What CPython keeps in a thread state is each goroutine's own: exceptions, context, locals; and C code below."""

import asyncio
import contextvars
import ctypes
import decimal
import gc
import random
import sys
import threading
import time
import traceback

import pytest
import ramet
from helpers import T, inside, together
from ramet import Chan, go, gosched

# ---- generators -------------------------------------------------------------------------------------


def test_generator_begun_here_and_resumed_there():
    def numbers():
        total = 0
        try:
            while True:
                total += yield total
                gosched()
        finally:
            closed.append(ramet.current().id)

    closed = []
    gen = numbers()
    assert inside(next, gen) == 0
    assert [inside(gen.send, i) for i in range(1, 5)] == [1, 3, 6, 10]
    assert gen.send(5) == 15
    closer = go(gen.close)
    closer.join(T)
    assert closed == [closer.id]


def test_generator_already_executing():
    c = Chan()

    def parks():
        yield 1
        yield c.recv()

    gen = parks()
    next(gen)
    g = go(next, gen)
    gosched()
    with pytest.raises(ValueError, match="already executing"):
        next(gen)
    with pytest.raises(ValueError, match="already executing"):
        inside(next, gen)
    with pytest.raises(ValueError, match="already executing"):
        gen.close()
    c.send("v")
    assert g.join(T) == "v"
    assert list(gen) == []


def test_exception_thrown_into_a_generator_of_another_goroutine():
    def gen():
        try:
            yield 1
        except KeyError as e:
            gosched()
            try:
                yield e.args[0]
            finally:
                assert sys.exception() is e
                assert sys.exc_info()[1] is e
        yield "out"

    g = gen()
    next(g)
    assert inside(g.throw, KeyError("k")) == "k"
    assert sys.exc_info() == (None, None, None)

    def resume_with_another_in_flight():
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as e:
            value = next(g)
            assert sys.exc_info()[1] is e
            return value

    assert inside(resume_with_another_in_flight) == "out"


def test_async_generator_driven_by_hand():
    async def agen():
        for i in range(3):
            gosched()
            yield i

    def step(a):
        try:
            a.__anext__().send(None)
        except StopIteration as e:
            return e.value

    a = agen()
    assert [inside(step, a) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StopAsyncIteration):
        inside(step, a)


# ---- exceptions -------------------------------------------------------------------------------------


def test_handled_exception_is_the_goroutine_s_own():
    order = []

    def handler(name):
        assert sys.exc_info() == (None, None, None)
        try:
            raise ValueError(name)
        except ValueError as e:
            for i in range(5):
                order.append(name)
                gosched()
                assert sys.exc_info()[1] is e
                try:
                    raise KeyError(i)
                except KeyError as inner:
                    gosched()
                    assert sys.exc_info()[1] is inner
                    assert inner.__context__ is e
        assert sys.exc_info() == (None, None, None)

    together(lambda: handler("a"), lambda: handler("b"), lambda: handler("c"))
    assert order[:6] == ["a", "b", "c"] * 2


def test_context_of_exceptions_across_switches():
    def context_of_new():
        try:
            raise KeyError
        except KeyError as e:
            return e.__context__

    try:
        raise ValueError
    except ValueError as outer:
        assert inside(context_of_new) is None  # a new goroutine has nothing in flight
        try:
            inside(lambda: 1 / 0)
        except ZeroDivisionError as e:
            assert e.__context__ is outer  # it was raised again here
        assert sys.exc_info()[1] is outer


def test_exception_in_flight_through_finally_that_parks():
    log = []

    def f(c, n):
        try:
            try:
                raise ValueError(n)
            finally:
                log.append(c.recv())
                gosched()
        except ValueError as e:
            return e.args[0], [fs.name for fs in traceback.extract_tb(e.__traceback__)]

    chans = [Chan() for _ in range(10)]
    gs = [go(f, c, n) for n, c in enumerate(chans)]
    gosched()
    for n in reversed(range(10)):
        chans[n].send(n)
    assert [g.join(T) for g in gs] == [(n, ["f"]) for n in range(10)]
    assert sorted(log) == list(range(10))


def test_with_statement_and_bare_raise():
    class Cm:
        def __enter__(self):
            gosched()

        def __exit__(self, t, v, tb):
            gosched()
            assert sys.exc_info()[1] is v
            return False

    def f(i):
        try:
            with Cm():
                raise LookupError(i)
        except LookupError:
            gosched()
            try:
                raise
            except LookupError as e:
                return e.args[0]

    assert together(*[lambda i=i: f(i) for i in range(20)]) == list(range(20))


def test_no_reference_is_left_by_ended_goroutines():
    def f():
        try:
            raise ValueError
        except ValueError:
            gosched()

    def g():
        raise KeyError

    def round_(n):
        for _ in range(n):
            go(f)
            h = go(g)
            h.exception(T)
        del h
        gosched()
        gc.collect()
        return sys.getrefcount(None), sys.getrefcount(f), sys.getrefcount(g)

    round_(50)
    before, after = round_(50), round_(500)
    assert after[1:] == before[1:]
    assert abs(after[0] - before[0]) < 100  # 3.11: a None each, if it were forgotten; immortal later


# ---- context variables ------------------------------------------------------------------------------


var = contextvars.ContextVar("var", default="default")


def test_context_is_copied_by_go_and_isolated():
    token = var.set("parent")
    try:

        def child(v):
            seen = [var.get()]
            var.set(v)
            gosched()
            seen.append(var.get())
            seen.append(inside(var.get))
            return seen

        gs = [go(child, i) for i in range(5)]
        var.set("later")
        assert [g.join(T) for g in gs] == [["parent", i, i] for i in range(5)]
        assert var.get() == "later"
    finally:
        var.reset(token)


def test_context_run_across_switches():
    def f(i):
        ctx = contextvars.copy_context()

        def body():
            var.set(i)
            for _ in range(3):
                gosched()
                assert var.get() == i
            return var.get()

        assert ctx.run(body) == i
        return ctx[var], var.get()

    assert together(*[lambda i=i: f(i) for i in range(10)]) == [(i, "default") for i in range(10)]


def test_context_that_is_entered_elsewhere():
    ctx = contextvars.copy_context()
    c = Chan()
    g = go(ctx.run, c.recv)
    gosched()
    with pytest.raises(RuntimeError, match="already entered"):
        ctx.run(lambda: None)
    c.send(1)
    assert g.join(T) == 1


def test_decimal_context_is_the_goroutine_s_own():
    def f(prec):
        with decimal.localcontext() as ctx:
            ctx.prec = prec
            gosched()
            return str(decimal.Decimal(1) / 3)

    assert together(*[lambda p=p: f(p) for p in range(1, 20)]) == ["0." + "3" * p for p in range(1, 20)]


# ---- thread locals ----------------------------------------------------------------------------------


class Dropped:
    alive = 0

    def __init__(self):
        Dropped.alive += 1

    def __del__(self):
        Dropped.alive -= 1


def test_threading_local_is_the_goroutine_s_own():
    class Local(threading.local):
        made = 0

        def __init__(self, *args):
            Local.made += 1
            self.args = args

    local, plain = Local(7), threading.local()
    plain.x = "main"

    def f(i):
        assert not hasattr(plain, "x")
        plain.x = i
        plain.obj = Dropped()
        assert local.args == (7,)
        local.i = i
        gosched()
        assert plain.__dict__.keys() == {"x", "obj"}
        return plain.x, local.i

    assert together(*[lambda i=i: f(i) for i in range(20)]) == [(i, i) for i in range(20)]
    assert Local.made == 21
    assert plain.x == "main"
    gc.collect()
    assert Dropped.alive == 0  # with the goroutine


def test_threading_local_that_dies_before_its_goroutine():
    def f():
        local = threading.local()
        local.obj = Dropped()
        gosched()
        del local
        gc.collect()
        return Dropped.alive

    assert together(f, f)[-1] == 0


def test_threading_local_used_by_what_it_drops():
    local = threading.local()
    log = []

    class Late:
        def __del__(self):
            log.append(getattr(local, "late", None))
            local.again = Dropped()
            gosched()

    def f():
        local.late = Late()

    inside(f)
    gosched()
    gc.collect()
    assert log == [None]
    assert Dropped.alive == 0


def test_repr_recursion_is_the_goroutine_s_own():
    class Switching:
        def __repr__(self):
            gosched()
            return "s"

    shared = [Switching(), Switching()]
    shared.append(shared)
    assert together(*[lambda: repr(shared) for _ in range(5)]) == ["[s, s, [...]]"] * 5


def test_asyncio_in_goroutines_and_in_main_beside_them():
    async def main(i):
        assert asyncio.get_running_loop() is asyncio.get_running_loop()
        task = asyncio.create_task(asyncio.sleep(0, i))
        for _ in range(3):
            gosched()  # the others have loops of their own
            await asyncio.sleep(0)
            assert asyncio.current_task() is not None
        return await task

    def no_loop():
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

    def f(i):
        no_loop()
        value = asyncio.run(main(i))
        no_loop()
        return value

    async def with_goroutines():
        g = go(f, 42)
        h = go(no_loop)
        await asyncio.sleep(0)
        gosched()
        assert h.join(T) is None
        return await main(1), g.join(T)

    assert inside(f, 1) == 1
    assert together(*[lambda i=i: f(i) for i in range(4)]) == list(range(4))
    assert asyncio.run(with_goroutines()) == (1, 42)


# ---- C code below -----------------------------------------------------------------------------------


def test_ctypes_callback_that_switches():
    libc = ctypes.CDLL(None)
    compare_t = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))

    def f(seed):
        @compare_t
        def compare(a, b):
            gosched()
            return a[0] - b[0]

        numbers = random.Random(seed).sample(range(1000), 50)
        array = (ctypes.c_int * 50)(*numbers)
        pythonapi_qsort(array, 50, ctypes.sizeof(ctypes.c_int), compare)
        assert list(array) == sorted(numbers)

    pythonapi_qsort = ctypes.PyDLL(None).qsort
    together(*[lambda s=s: f(s) for s in range(8)])
    assert libc.abs(-3) == 3


def test_ctypes_callback_that_releases_the_gil():
    libc = ctypes.CDLL(None)
    compare_t = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))

    def f():
        compare = compare_t(lambda a, b: a[0] - b[0])
        array = (ctypes.c_int * 5)(3, 1, 4, 1, 5)
        libc.qsort(array, 5, ctypes.sizeof(ctypes.c_int), compare)
        return list(array)

    assert together(f, f) == [[1, 1, 3, 4, 5]] * 2


def test_switch_inside_sort_and_dict_operations():
    class Key:
        def __init__(self, n):
            self.n = n

        def __lt__(self, other):
            gosched()
            return self.n < other.n

        def __eq__(self, other):
            gosched()
            return self.n == other.n

        def __hash__(self):
            return self.n % 3

    def f(seed):
        numbers = random.Random(seed).sample(range(100), 30)
        assert [k.n for k in sorted(map(Key, numbers))] == sorted(numbers)
        d = {Key(n): n for n in numbers}
        assert all(d[Key(n)] == n for n in numbers)

    together(*[lambda s=s: f(s) for s in range(5)])


def test_exec_import_and_classes():
    def f(i):
        ns = {"gosched": gosched}
        exec(f"class A:\n  gosched()\n  x = {i}\n  def f(self): gosched(); return super().__init__, self.x", ns)
        import json

        assert json.loads(json.dumps({"i": [i]})) == {"i": [i]}
        return ns["A"]().f()[1]

    assert together(*[lambda i=i: f(i) for i in range(10)]) == list(range(10))


# ---- all at once ------------------------------------------------------------------------------------


def test_stress():
    end = time.monotonic() + 3
    local = threading.local()
    done = Chan(1000)

    def numbers(n):
        for i in range(n):
            try:
                yield i
            except KeyError:
                gosched()
                yield -1

    def worker(seed):
        r = random.Random(seed)
        var.set(seed)
        local.seed = seed
        rounds = 0
        while time.monotonic() < end:
            gen = numbers(r.randrange(1, 10))
            try:
                for v in gen:
                    if r.random() < 0.3:
                        gosched()
                    if r.random() < 0.2:
                        assert gen.throw(KeyError(v)) == -1
                    if r.random() < 0.1:
                        raise ValueError(seed)
            except ValueError as e:
                gosched()
                assert e.args == (seed,) and sys.exc_info()[1] is e
                assert e.__context__ is None
            if r.random() < 0.01:
                gc.collect(0)
            if r.random() < 0.05:
                assert inside(lambda: var.get()) == seed
            if r.random() < 0.05:
                with pytest.raises(ZeroDivisionError):
                    inside(lambda: 1 / 0)
            assert var.get() == seed and local.seed == seed
            assert sys.exc_info() == (None, None, None)
            rounds += 1
            gosched()
        done.send(rounds)

    gs = [go(worker, s) for s in range(100)]
    assert all(done.recv(T) > 0 for _ in gs)
    for g in gs:
        g.join(T)
