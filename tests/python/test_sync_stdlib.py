"""ramet.sync's types against the interpreter's own tests of what they stand in for."""

import unittest

import pytest
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
