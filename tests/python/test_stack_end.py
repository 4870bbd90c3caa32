"""What is dropped where a goroutine's C stack is nearly used up: CPython 3.13 and later put its deallocation off."""

from helpers import run_py


def test_handles_dropped_where_the_stack_is_nearly_used_up():
    """Since 3.14 their deallocation is put off until there is room again; the goroutines end before that."""
    code = """
import gc, sys
from ramet import current, go, gosched
sys.setrecursionlimit(100000)
names = []

def started():
    gosched()
    names.append(current().name)

def deep():
    try:
        return max((0,), key=lambda _: deep())
    except RecursionError:
        if len(names) < 60:
            for _ in range(3):
                go(started)
            gosched(), gosched()
        raise

for n in range(3):
    assert isinstance(go(deep).exception(), RecursionError)
    gc.collect()
    assert len(set(names)) >= 60
    names.clear()
print("ok")
"""
    assert run_py(code).out == "ok\n"


def test_what_is_dropped_where_the_stack_is_nearly_used_up():
    """On 3.13 its deallocation is put off, and made up for one below the other: that may overflow, too."""
    code = """
import sys
from ramet import go
sys.setrecursionlimit(100000)

class Node:
    pass

def deep(n):
    try:
        return max((0,), key=lambda _: deep(n))
    except RecursionError:
        global levels
        levels += 1
        for _ in range(n if levels < 60 else 0):
            node = Node()
            node.kept = [[].append, {}]
        raise

def main(n):
    try:
        deep(n)
    except RecursionError:
        return n

for n in (1, 3, 10, 30, 100, 300):
    levels = 0
    assert go(main, n).join() == n
print("ok")
"""
    assert run_py(code).out == "ok\n"
