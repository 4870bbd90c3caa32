"""ramet.sync's types, and ramet.local, against the interpreter's own tests of what they stand in for: with OS threads, and
with goroutines in their place.
"""

import contextlib
import time
import unittest

import pytest
import ramet
from ramet import sync

try:
    from test import lock_tests
except ImportError as e:
    pytest.skip(f"this CPython comes without its tests: {e}", allow_module_level=True)


class TestMutex(lock_tests.LockTests):
    locktype = staticmethod(sync.Mutex)


class TestRLock(lock_tests.RLockTests):
    locktype = staticmethod(sync.RLock)


class TestCond(lock_tests.ConditionTests):
    condtype = staticmethod(sync.Cond)
    locktype = staticmethod(sync.Mutex)


class TestEvent(lock_tests.EventTests):
    eventtype = staticmethod(sync.Event)
    test_reset_internal_locks = test_at_fork_reinit = None  # of threading.Event's inside


class TestSemaphore(lock_tests.SemaphoreTests):
    semtype = staticmethod(sync.Semaphore)


class TestBoundedSemaphore(lock_tests.BoundedSemaphoreTests):
    semtype = staticmethod(sync.BoundedSemaphore)


class TestBarrier(lock_tests.BarrierTests):
    barriertype = staticmethod(sync.Barrier)
    lock_tests.BarrierTests.defaultTimeout = 5.0


# ---- queue: each of its test classes takes the module from `self.queue` ---------------------------


def of_test_queue(name):
    from test import test_queue

    return type(f"Test{name}", (getattr(test_queue, name), unittest.TestCase), {"queue": sync})


TestQueue = of_test_queue("QueueTest")
TestLifoQueue = of_test_queue("LifoQueueTest")
TestPriorityQueue = of_test_queue("PriorityQueueTest")
TestFailingQueue = of_test_queue("FailingQueueTest")


def simple_queue():
    from test import test_queue

    def set_up(self):
        self.type2test = sync.SimpleQueue
        test_queue.BaseSimpleQueueTest.setUp(self)

    bases = (test_queue.BaseSimpleQueueTest, unittest.TestCase)
    return type("TestSimpleQueue", bases, {"queue": sync, "setUp": set_up})


TestSimpleQueue = simple_queue()


# ---- thread-local storage --------------------------------------------------------------------------------------------------


def of_test_threading_local(name):
    from test import test_threading_local

    return type(f"Test{name}", (test_threading_local.BaseLocalTest, unittest.TestCase), {"_local": ramet.local})


TestLocal = of_test_threading_local("Local")


# ---- the same in goroutines: what the tests find in the modules that they use stands for goroutines ------------------------


class Instead:
    """A module, but for some of its names."""

    def __init__(self, module, **names):
        self.__dict__.update(vars(module), **names)


class Thread:
    """As much of threading.Thread as is asked for there."""

    daemon = False

    def __init__(self, target=None, args=(), kwargs=None):
        self.call = target, args, kwargs or {}

    def run(self):
        target, args, kwargs = self.call
        target(*args, **kwargs)

    def start(self):
        self.g = ramet.go(self.run)

    def join(self, timeout=None):
        self.g.join(timeout)

    def is_alive(self):
        return not self.g.done()


def sleeping_retry(timeout, *args, **kwargs):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        yield
        ramet.time.sleep(0.001)
    raise AssertionError("timed out")


def wait_threads_exit(timeout=None):
    return contextlib.nullcontext()


NEED_PREEMPTION = (
    "test_shutdown_all_methods_in_many_threads",
    "test_shutdown_immediate_all_methods_in_many_threads",
)


def in_goroutines(case, module=lock_tests):
    """The test case anew."""

    @pytest.fixture(autouse=True)
    def goroutines(self, monkeypatch):
        def put(name, **names):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, Instead(getattr(module, name), **names))

        put("time", sleep=ramet.time.sleep)
        names = {name: getattr(sync, name) for name in ("Barrier", "Condition", "Event", "Lock")}
        put("threading", Thread=Thread, get_ident=lambda: ramet.current().id, **names)
        put("support", sleeping_retry=sleeping_retry)
        put("threading_helper", wait_threads_exit=wait_threads_exit)
        if hasattr(module, "_TriggerThread"):
            of_goroutines = type("_TriggerThread", (Thread,), dict(vars(module._TriggerThread)))
            monkeypatch.setattr(module, "_TriggerThread", of_goroutines)
        if hasattr(module, "start_new_thread"):
            monkeypatch.setattr(module, "start_new_thread", lambda fn, args: ramet.go(fn, *args))

    members = {"goroutines": goroutines}
    for name in NEED_PREEMPTION:
        if hasattr(case, name):
            members[name] = unittest.skip("a goroutine polls there and never waits")(getattr(case, name))
    return type(f"{case.__name__}InGoroutines", (case,), members)


def _modules():
    from test import test_queue, test_threading_local

    return test_queue, test_threading_local


_of_queue, _of_local = _modules()

TestMutexInGoroutines = in_goroutines(TestMutex)
TestRLockInGoroutines = in_goroutines(TestRLock)
TestCondInGoroutines = in_goroutines(TestCond)
TestEventInGoroutines = in_goroutines(TestEvent)
TestSemaphoreInGoroutines = in_goroutines(TestSemaphore)
TestBoundedSemaphoreInGoroutines = in_goroutines(TestBoundedSemaphore)
TestBarrierInGoroutines = in_goroutines(TestBarrier)
TestQueueInGoroutines = in_goroutines(TestQueue, _of_queue)
TestSimpleQueueInGoroutines = in_goroutines(TestSimpleQueue, _of_queue)
TestLocalInGoroutines = in_goroutines(TestLocal, _of_local)
