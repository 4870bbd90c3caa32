"""One module of the interpreter's own tests, in this process: plainly, or in a goroutine beside two busy ones.

    one.py MODULE OUT [--goroutine] [--calm] [--not-run PATTERN]...

OUT gets a line of JSON for what happens: ["begin", id], ["end", id, outcome, why], ["switches", yields, preemptions]. It is written at once, so that
the last line tells where a process died.
"""

import argparse
import contextvars
import fnmatch
import gc
import importlib
import json
import os
import sys
import threading
import unittest

# Events that tests raise often. Some come while an import is under way: the other goroutines import nothing.
AUDITED = {
    "builtins.id",
    "code.__new__",
    "compile",
    "exec",
    "object.__getattr__",
    "open",
    "pickle.find_class",
    "sys._getframe",
}

PREEMPTION = {"RAMET_PREEMPT": "1", "RAMET_PREEMPT_INTERVAL": "0.001"}


class Recorder(unittest.TestResult):
    """Writes the outcome of every test; calls `between` before each of them."""

    def __init__(self, path, between):
        super().__init__()
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self.pid = os.getpid()
        self.between = between
        self.running = None

    def write(self, *line):
        if os.getpid() == self.pid:  # not in a child that a test has forked
            os.write(self.fd, json.dumps(line).encode() + b"\n")

    def startTest(self, test):
        super().startTest(test)
        self.running, self.outcome, self.why = test, "passed", ""
        self.write("begin", test.id())
        self.between()

    def stopTest(self, test):
        super().stopTest(test)
        if self.running is None:  # 3.12.1 does not start those that it skips
            return
        self.between()
        self.write("end", test.id(), self.outcome, self.why)
        self.running = None

    def note(self, test, outcome, why=""):
        if self.running is None:  # of a class or a module
            self.write("end", test.id(), outcome, why)
        elif self.outcome in ("passed", "skipped"):  # the first is what counts; later ones come of it
            self.outcome, self.why = outcome, why

    def addError(self, test, err):
        self.note(test, "error", tell(err))

    def addFailure(self, test, err):
        self.note(test, "failed", tell(err))

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note(test, "failed", f"{subtest._subDescription()}: {tell(err)}")

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        self.note(test, "failed as expected")

    def addUnexpectedSuccess(self, test):
        self.note(test, "passed unexpectedly")


def tell(err):
    try:
        return f"{err[0].__name__}: {err[1]}"[:500]
    except Exception:
        return err[0].__name__


def cases(suite):
    for test in suite:
        if isinstance(test, unittest.BaseTestSuite):
            yield from cases(test)
        else:
            yield test


def run_tests(module, recorder, not_run):
    try:
        suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(f"test.{module}"))
    except unittest.SkipTest as e:
        recorder.write("end", f"test.{module}", "skipped", str(e))
        return
    for test in cases(suite):
        if any(fnmatch.fnmatchcase(test.id(), pattern) for pattern in not_run):
            setattr(test, test._testMethodName, unittest.skip("in skips.txt")(lambda: None))
    suite(recorder)


# ---- in a goroutine --------------------------------------------------------------------------------------------------------


class Yields:
    """Where the tests' goroutine lets the others run: between tests, and where a collection or an audit event gives Python code
    a turn in the midst of what it does. The others touch nothing but their own objects, so any such place will do.
    """

    def __init__(self):
        self.thread = threading.get_ident()
        self.goroutine = (
            None  # the tests', while they run; the others never wait inside a collection: it would not end meanwhile
        )
        self.count = 0

    def now(self):
        if self.goroutine is None or threading.get_ident() != self.thread or ramet.current() is not self.goroutine:
            return
        if sys.gettrace() is None and sys.getprofile() is None:  # those see all goroutines of a thread
            self.count += 1
            gosched()

    def collected(self, phase, info):
        self.now()

    def audited(self, event, args):
        if event in AUDITED:
            self.now()


class Busy:
    """A goroutine that always has something in every field of the thread state that ramet moves."""

    var = contextvars.ContextVar("busy")

    def __init__(self, name, yields):
        self.name, self.yields, self.rounds, self.stop = name, yields, 0, False

    def turns(self):
        while not self.stop:
            yield self.rounds
            self.rounds += 1

    def deep(self, levels):
        return self.deep(levels - 1) if levels else self.turn()

    def turn(self):
        gosched()
        return sys.exc_info()[1]

    def __call__(self):
        self.var.set(self.name)
        for n in self.turns():
            try:
                raise LookupError(self.name, n)
            except LookupError as e:
                assert self.deep(n % 10) is e
            assert self.var.get() == self.name


def in_goroutine(run, recorder, yields):
    """run() in a goroutine, and what the others found."""

    def body():
        yields.goroutine = ramet.current()
        gc.callbacks.append(yields.collected)
        sys.addaudithook(yields.audited)
        try:
            run()
        finally:
            yields.goroutine = None  # no more from here
            if yields.collected in gc.callbacks:
                gc.callbacks.remove(yields.collected)

    def main():
        busy = [Busy(name, yields) for name in "ab"]
        others = [ramet.go(b) for b in busy]
        ramet.go(body).join()
        for b in busy:
            b.stop = True
        for g in others:
            g.join()
        assert all(b.rounds for b in busy)
        # between two of its turns a busy goroutine waits for the tests' to yield or to be preempted
        recorder.write("switches", yields.count, max(busy[0].rounds - yields.count - 1, 0) if preempted else 0)

    ramet.run(main)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("module")
    ap.add_argument("out")
    ap.add_argument("--goroutine", action="store_true")
    ap.add_argument("--calm", action="store_true", help="without preemption")
    ap.add_argument("--not-run", action="append", default=[])
    args = ap.parse_args()
    sys.argv[1:] = []
    del sys.path[0]

    from test import support

    support.record_original_stdout(sys.stdout)
    support.use_resources = {}  # as the interpreter's own runner does when it is asked for none

    if args.goroutine:
        os.environ |= {} if args.calm else PREEMPTION
        import ramet
        from ramet import gosched

        for name in PREEMPTION:  # not for the programs that tests start
            os.environ.pop(name, None)
        preempted = not args.calm
        yields = Yields()
        recorder = Recorder(args.out, yields.now)
        in_goroutine(lambda: run_tests(args.module, recorder, args.not_run), recorder, yields)
    else:
        recorder = Recorder(args.out, lambda: None)
        run_tests(args.module, recorder, args.not_run)
