"""Two schedulers: twenty-five lines that run generators (PEP 342), and ramet, which runs functions.

A generator can let others run only by its own yield, so everything between it and the scheduler must be a generator
too. A goroutine has a stack: `visit` below calls itself, and lets others run from any depth.
"""

from collections import deque

import ramet

TREE = {"a": ["b", "c"], "b": ["d", "e"], "c": [], "d": [], "e": []}


class Scheduler:
    """Tasks are generators. They yield to let others run, or yield a generator to call it."""

    def __init__(self):
        self.ready = deque()

    def add(self, task):
        self.ready.append(([task], None))

    def run(self):
        while self.ready:
            stack, value = self.ready.popleft()
            try:
                called = stack[-1].send(value)
            except StopIteration as end:
                stack.pop()
                if stack:
                    self.ready.appendleft((stack, end.value))
            else:
                if called is None:
                    self.ready.append((stack, None))
                else:
                    stack.append(called)
                    self.ready.appendleft((stack, None))


def visit_generator(name, node, log):
    log.append(f"{name}{node}")
    yield
    count = 1
    for child in TREE[node]:
        count += yield visit_generator(name, child, log)
    return count


def task(name, log, counts):
    counts[name] = yield visit_generator(name, "a", log)


def visit(name, node, log):
    log.append(f"{name}{node}")
    ramet.gosched()
    return 1 + sum(visit(name, child, log) for child in TREE[node])


def main():
    scheduler, log, counts = Scheduler(), [], {}
    for number in "123":
        scheduler.add(task(number, log, counts))
    scheduler.run()
    print(f"generators: {' '.join(log)}, {sum(counts.values())} visits")

    goroutine_log = []
    goroutines = [ramet.go(visit, number, "a", goroutine_log) for number in "123"]
    visits = sum(g.join() for g in goroutines)
    print(f"goroutines: {' '.join(goroutine_log)}, {visits} visits")
    print("in the same order" if log == goroutine_log else "in ANOTHER order")


ramet.run(main)
