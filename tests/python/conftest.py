"""Markers, and that no test leaves a goroutine behind."""

import os
import time

import pytest
import ramet
from ramet import _core


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: runs only with RAMET_SLOW=1")


def pytest_collection_modifyitems(items):
    if os.environ.get("RAMET_SLOW") == "1":
        return
    skip = pytest.mark.skip(reason="slow: RAMET_SLOW=1 runs it")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def nothing_left():
    """Whatever a test starts has ended when it ends."""
    before = ramet.num_goroutines()
    yield
    end = time.monotonic() + 5
    while ramet.num_goroutines() > before and time.monotonic() < end:
        ramet.time.sleep(0.001)
    if ramet.num_goroutines() > before:
        left = [f"{g!r} {g.stack()}" for g in _core._goroutines()]
        for g in _core._goroutines():
            if g.id != 1:
                g.cancel()
        ramet.time.sleep(0.01)
        pytest.fail(f"goroutines left behind: {left}")


ramet.gosched()  # first use: the main thread is the proc, whatever test comes first
