"""Everything at once, preempted every 0.2 ms: many goroutines run random cases, and every case checks its own results.

    torture.py [--seed N] [--seconds S] [--goroutines G] [--only WORKLOAD,...] [--without WORKLOAD,...] [--case N]

A failure prints the seed, the number and the workload of the case. What a case does follows from seed and number (--case runs
that one again and again, beside itself); when it is switched away from does not, so a failure may take some runs to come again.
"""

import argparse
import collections
import ctypes
import faulthandler
import gc
import itertools
import os
import random
import sys
import threading
import time
import traceback

INTERVAL = "0.0002"


class Torture:
    def __init__(self, args):
        self.args = args
        self.numbers = itertools.count(1)
        self.counts = collections.Counter()
        self.running = {}  # goroutine number: (case, workload, since)
        self.stop = False
        names = args.only.split(",") if args.only else list(kit.WORK)
        names = [name for name in names if name not in args.without.split(",")]
        self.names = [name for name in names for _ in range(kit.WORK[name][1])]

    def fail(self, what, exc=None, status=1):
        """The end of the process, at once: nothing can be relied upon."""
        print(f"\ntorture: FAILED: seed {self.args.seed}: {what}", file=sys.stderr)
        if exc:
            traceback.print_exception(exc)
        print(f"torture: running: {sorted(self.running.values())}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(status)

    def case(self, me, n):
        r = random.Random(f"{self.args.seed}/{n}")
        name = r.choice(self.names)
        self.running[me] = n, name, time.monotonic()
        try:
            kit.WORK[name][0](r)
            if sys.exc_info() != (None, None, None):
                raise AssertionError(f"left behind: {sys.exc_info()}")
        except BaseException as e:
            self.fail(f"case {n} ({name})", e)
        del self.running[me]
        self.counts[name] += 1

    def worker(self, me):
        while not self.stop:
            self.case(me, self.args.case or next(self.numbers))

    def watch(self):
        """In an OS thread: whether every case ends."""
        while not self.stop:
            time.sleep(1)
            late = [c for c in list(self.running.values()) if time.monotonic() - c[2] > kit.T]
            if late:
                ramet.dump()
                faulthandler.dump_traceback()
                self.fail(f"it hangs: {late}", status=3)

    def run(self):
        faulthandler.enable()
        faulthandler.dump_traceback_later(self.args.seconds + 2 * kit.T, exit=True)
        sys.unraisablehook = lambda u: self.fail(f"in {u.object!r}", u.exc_value)
        ramet.excepthook = lambda g, e: self.fail(f"in {g!r}", e)
        threading.excepthook = lambda a: self.fail(f"in {a.thread!r}", a.exc_value)
        gc.set_threshold(60, 5, 5)
        sys.setswitchinterval(0.0005)
        kit.server = kit.Server()
        before = ramet.num_goroutines()
        watch = threading.Thread(target=self.watch, daemon=True)
        watch.start()
        switches, end = ramet.stats()["switches"], time.monotonic() + self.args.seconds
        gs = [ramet.go(self.worker, i) for i in range(1, self.args.goroutines)]
        while time.monotonic() < end:
            self.case(0, self.args.case or next(self.numbers))  # main, too
        self.stop = True
        for g in gs:
            g.join()
        gc.collect()
        deadline = time.monotonic() + kit.T
        while ramet.num_goroutines() > before and time.monotonic() < deadline:
            ramet.time.sleep(0.001)
        if ramet.num_goroutines() != before:
            ramet.dump()
            self.fail(f"{ramet.num_goroutines() - before} goroutines are left")
        same(gc.garbage, [])
        same((gc.isenabled(), sys.gettrace()), (True, None))
        kit.server.close()
        while watch.is_alive():
            ramet.time.sleep(0.01)
        switches = ramet.stats()["switches"] - switches
        print(f"{self.counts.total()} cases, {switches} switches: {dict(sorted(self.counts.items()))}")
        print("ok")


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    ap.add_argument("--seconds", type=float, default=10)
    ap.add_argument("--goroutines", type=int, default=24)
    ap.add_argument("--only", help="these workloads")
    ap.add_argument("--without", default="", help="but these")
    ap.add_argument("--limit", type=float, default=30, help="seconds that a case may take, and every wait in it")
    ap.add_argument("--case", type=int, help="this one only")
    args = ap.parse_args()
    print(f"torture: CPython {sys.version.split()[0]}, seed {args.seed}", flush=True)

    os.environ.setdefault("RAMET_PREEMPT", "1")
    os.environ.setdefault("RAMET_PREEMPT_INTERVAL", INTERVAL)
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG: not longer than who started it

    import kit
    import ramet
    from kit import same

    kit.T = args.limit
    for module in ("language", "memory", "waiting"):
        __import__(f"work_{module}")
    Torture(args).run()
