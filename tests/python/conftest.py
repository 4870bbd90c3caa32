"""Markers, fixtures of several test files, and that no test leaves a goroutine behind."""

import gc
import os
import sys
import sysconfig
import time

import pytest
import ramet
from helpers import TSAN, T
from ramet import _core, net


def gil_enabled():
    return getattr(sys, "_is_gil_enabled", lambda: True)()


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: runs only with RAMET_SLOW=1")


ASAN = "libasan" in os.environ.get("LD_PRELOAD", "")
NOT_UNDER_ASAN = {
    "what is measured is ASan's quarantine": (
        "test_no_leak[",
        "test_stacks_come_back",
        "test_a_parked_goroutine_is_small",
        "test_pingpong_million",
        "test_a_thousand_connections",
    ),
    "ASan takes the fault": (
        "test_recursion[hash_nested",
        "test_recursion[map",
        "test_recursion[compile_unary",
        "test_recursion[ctypes_callback",
        "test_fatal_overflow_names_the_goroutine",
        "test_other_faults_",
    ),
    "ASan has handlers and an alternate stack of its own": (
        "test_nothing_after_the_import",
        "test_what_is_listed_is_there",
        "test_what_somebody_has_replaced",
        "test_a_runtime_on_a_thread_of_its_own",
        "test_python_s_main_thread_has_ended",
        "test_hooks_in_a_forked_child",
    ),
    "libasan leaves its allocator locked in a forked child": (
        "test_fork.py",
        "test_fork_handlers.py",
        "test_fork_structure.py",
        "test_a_fork_while_threads_are_in_ramet",
    ),
}


NOT_IN_A_DEBUG_BUILD = (
    # an assertion wants every frame prepared for what is traced, and 3.15 is the first that lets us do it
    "test_tracing_begun_while_goroutines_are_parked",
    "test_monitoring_begun_while_goroutines_are_parked",
    "test_raising_in_a_frame_that_was_parked_when_tracing_began",
    "test_tracing_set_in_a_goroutine",
    "test_pdb_begins_a_program",
    "test_trace_functions_that_raise_end_tracing_and_nothing_else",
    "test_cancel_everywhere.py",
)


@pytest.fixture(scope="module", autouse=True)
def _what_there_is_stays():
    """The collections that tests ask for need not look at it every time."""
    gc.collect()
    gc.freeze()


# A stack may overflow inside of TSan, which then has a lock that our handler of the fault waits for.
OVERFLOWS = ("test_recursion", "test_overflow", "test_fatal_overflow")


def pytest_collection_modifyitems(items):
    for item in items if TSAN else ():
        if item.name.startswith(OVERFLOWS):
            item.add_marker(pytest.mark.skip(reason="TSan: a stack that overflows inside of it is a deadlock"))
    if sysconfig.get_config_var("Py_DEBUG") and sys.version_info < (3, 15):
        for item in items:
            if item.name.startswith(NOT_IN_A_DEBUG_BUILD) or item.path.name in NOT_IN_A_DEBUG_BUILD:
                item.add_marker(pytest.mark.skip(reason="debug build: its assertions want what only 3.15 lets us do"))
    for item in items if ASAN else ():
        for reason, names in NOT_UNDER_ASAN.items():
            if item.name.startswith(names) or item.path.name in names:
                item.add_marker(pytest.mark.skip(reason=f"ASan: {reason}"))
    if os.environ.get("RAMET_SLOW") == "1":
        return
    skip = pytest.mark.skip(reason="slow: RAMET_SLOW=1 runs it")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def nothing_left():
    """Whatever a test starts has ended when it ends; and nothing has enabled the GIL of a free-threaded build."""
    before, gil = ramet.num_goroutines(), gil_enabled()
    yield
    assert gil_enabled() == gil
    end = time.monotonic() + 50
    while ramet.num_goroutines() > before and time.monotonic() < end:
        ramet.time.sleep(0.001)
    if ramet.num_goroutines() > before:
        left = [f"{g!r} {g.stack()}" for g in _core._goroutines()]
        for g in _core._goroutines():
            if g.id != 1:
                g.cancel()
        ramet.time.sleep(0.01)
        pytest.fail(f"goroutines left behind: {left}")


# ---- what tests of several files are given ----------------------------------------------------------


@pytest.fixture
def reports(monkeypatch):
    """What excepthook was told, as (goroutine, exception)."""
    calls = []
    monkeypatch.setattr(ramet, "excepthook", lambda g, e: calls.append((g, e)))
    return calls


@pytest.fixture
def pipe():
    r, w = os.pipe()
    yield r, w
    for fd in (r, w):
        try:
            os.close(fd)
        except OSError:
            pass


@pytest.fixture
def ln():
    """A listener."""
    with net.listen("tcp", "127.0.0.1:0") as listener:
        yield listener


@pytest.fixture
def pair(ln):
    """Both ends of a connection to it."""
    a = net.dial("tcp", ln.addr, timeout=T)
    b = ln.accept(timeout=T)
    with a, b:
        yield a, b


ramet.gosched()  # first use: the main thread is the proc, whatever test comes first
