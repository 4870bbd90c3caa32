"""Runs programs of programs.py on ramet: JSON lists of [program, seed], a line each, to a line of JSON an outcome.

A program ends when its first goroutine has returned, when any panics, or when none can go on; see outcome().
"""

import json
import random
import sys

import ramet
from ramet import Chan, ChanClosed, DeadlockError, GoroutineCancelled, PanicError, gosched, sync


class Machine:
    def __init__(self, program, seed):
        self.procs, self.seed = program["Procs"], seed
        self.chans = [Chan(n) if n >= 0 else None for n in program["Chans"]]
        self.mutexes = [sync.Mutex() for _ in range(program["Mutexes"])]
        self.groups = [sync.WaitGroup() for _ in program["Groups"]]
        for group, n in zip(self.groups, program["Groups"], strict=True):
            group.add(n)
        self.logs = [[] for _ in self.procs]
        self.panic = None
        self.over = False

    def run(self, p):
        noise = random.Random(self.seed + p)
        for s in self.procs[p]:
            while self.seed and noise.randrange(3) == 0:
                gosched()
            if self.over:  # what is started now run() would wait for
                return
            try:
                self.step(p, *s)
            except (ChanClosed, PanicError, AttributeError) as e:
                if self.panic is None:
                    self.panic = ["panic", self.kind(s, e), p, list(self.logs[p])]
                self.main.cancel()
                return

    @staticmethod
    def kind(s, e):
        """Go's words for it."""
        if isinstance(e, AttributeError):
            return "close of nil channel"
        if isinstance(e, ChanClosed):
            return "close of closed channel" if s[0] == "close" else "send on closed channel"
        return {"done": "sync: negative WaitGroup counter", "unlock": "sync: unlock of unlocked mutex"}[s[0]]

    def step(self, p, what, *args):
        chan = self.chans[args[0]] if what in ("send", "recv", "range", "close", "len") else None
        log = self.logs[p]
        match what:
            case "go":
                ramet.go(self.run, args[0])
            case "send":
                chan.send(args[1])
            case "recv":
                v, ok = chan.recv_ok()
                log.append([v if ok else 0, ok])
            case "range":
                for v in chan:
                    log.append([v])
            case "close":
                chan.close()
            case "len":
                log.append([len(chan)])
            case "select":
                self.select(log, *args)
            case "lock":
                self.mutexes[args[0]].lock()
            case "unlock":
                self.mutexes[args[0]].unlock()
            case "done":
                self.groups[args[0]].done()
            case "wait":
                self.groups[args[0]].wait()
            case _:
                raise ValueError(f"no such statement: {what}")

    def select(self, log, cases, has_default):
        ours = []
        for direction, i, *v in cases:
            c = self.chans[i]
            ours.append(None if c is None else c.if_send(*v) if direction == "send" else c.if_recv())
        if has_default:
            ours.append(ramet.default)
        s = ramet.select(*ours)
        if s.index < len(cases) and cases[s.index][0] == "recv":
            log.append([s.index, s.value if s.ok else 0, s.ok])
        else:
            log.append([s.index])

    def outcome(self):
        """["done", main's log], ["panic", which, the goroutine, its log] or ["deadlock", all logs]."""
        self.main = ramet.go(self.run, 0)
        try:
            self.main.join()
        except DeadlockError:
            return ["deadlock", [list(log) for log in self.logs]]
        except GoroutineCancelled:
            pass
        finally:
            self.over = True
        return self.panic or ["done", list(self.logs[0])]


def main():
    for line in sys.stdin:
        print(json.dumps(ramet.run(Machine(*json.loads(line)).outcome)), flush=True)


if __name__ == "__main__":
    main()
