"""Small random concurrent programs, and all that each may come to.

A program is a dict: Chans (capacities, -1 for nil), Mutexes (how many), Groups (the counters of WaitGroups), Procs
(lists of statements, the first of which is main). outcomes() walks through every interleaving of a model of Go's channels:
a statement is atomic, who cannot go on stands in the queues of its channels, and the longest waiting is served first.
"""

MAX_STATES = 4000


class TooMany(Exception):
    """More states than are worth the time."""


# ---- programs -------------------------------------------------------------------------------------------------------------


def generate(rng):
    chans = [rng.choice([0, 0, 0, 1, 1, 2, -1 if rng.random() < 0.3 else 0]) for _ in range(rng.randint(1, 3))]
    program = {"Chans": chans, "Mutexes": rng.randint(0, 1), "Groups": [rng.randint(0, 2)] * rng.randint(0, 1)}
    n = rng.randint(2, 4)
    procs = [[statement(rng, program) for _ in range(rng.randint(1, 4))] for _ in range(n)]
    for p in range(1, n):  # each is started once, by one before it
        by = procs[rng.choice([0, 0, rng.randrange(p)])]
        by.insert(rng.randint(0, len(by)) if rng.random() < 0.3 else 0, ["go", p])
    program["Procs"] = procs
    return program


def statement(rng, program):
    live = [i for i, n in enumerate(program["Chans"]) if n >= 0]
    kinds = ["send"] * 5 + ["recv"] * 5 + ["range", "close", "close", "len"] if live else []
    kinds += ["select"] * 5
    kinds += ["lock", "unlock"] * program["Mutexes"] + ["done", "wait"] * len(program["Groups"])
    kind = rng.choice(kinds)
    if kind == "select":
        cases = [
            ["send", i, rng.randint(1, 99)] if rng.random() < 0.5 else ["recv", i]
            for i in (rng.randrange(len(program["Chans"])) for _ in range(rng.randint(1, 3)))
        ]
        return [kind, cases, rng.random() < 0.4]
    if kind in ("lock", "unlock", "done", "wait"):
        return [kind, 0]
    i = rng.choice(live if kind != "close" else range(len(program["Chans"])))
    return [kind, i, rng.randint(1, 99)] if kind == "send" else [kind, i]


# ---- the model ----------------------------------------------------------------------------------------------------------------

NOT_STARTED, RUNS, WAITS, PANICS = range(4)  # the last: woken by a close as it sent, and has not run yet


class State:
    """Where all goroutines are. Queues hold pairs of goroutine and case; the buffers of channels are tuples."""

    __slots__ = ("buf", "closed", "groups", "held", "logs", "pc", "recvq", "sendq", "status")

    def copy(self):
        s = State()
        for name in State.__slots__:
            setattr(s, name, list(getattr(self, name)))
        return s

    def key(self):
        return tuple(tuple(getattr(self, name)) for name in State.__slots__)


def begin(program):
    s, n, m = State(), len(program["Procs"]), len(program["Chans"])
    s.pc, s.status, s.logs = [0] * n, [RUNS] + [NOT_STARTED] * (n - 1), [()] * n
    s.buf, s.closed, s.recvq, s.sendq = [()] * m, [False] * m, [()] * m, [()] * m
    s.held, s.groups = [False] * program["Mutexes"], list(program["Groups"])
    return s


def outcomes(program):
    """All that the program may come to, as outcome() of interpreter.py tells it."""
    first = begin(program)
    seen, todo, found = {first.key()}, [first], []
    while todo:
        if len(seen) > MAX_STATES:
            raise TooMany
        s = todo.pop()
        after = []
        if s.pc[0] == len(program["Procs"][0]):  # and before it has returned others may still do something
            after = [["done", unpack(s.logs[0])]]
        for p, status in enumerate(s.status):
            if status == PANICS:
                after.append(panic(s, p, "send on closed channel"))
            elif status == RUNS and s.pc[p] < len(program["Procs"][p]):
                after += steps(program, s, p)
        if not after:
            after = [["deadlock", [unpack(log) for log in s.logs]]]
        for n in after:
            if isinstance(n, list):
                if n not in found:
                    found.append(n)
            elif (key := n.key()) not in seen:
                seen.add(key)
                todo.append(n)
    return found


def unpack(log):
    return [list(event) for event in log]


def panic(s, p, what):
    return ["panic", what, p, unpack(s.logs[p])]


def steps(program, s, p):
    """What the next statement of p leads to, states and panics: nothing if it cannot be done now."""
    what, *args = program["Procs"][p][s.pc[p]]
    if what in ("send", "recv", "range", "select"):
        return communicate(program, s, p, what == "select" and args[1])
    i = args[0]
    if what == "close":
        return close(program, s, p, i)
    n = s.copy()
    n.pc[p] += 1
    if what == "go":
        n.status[i] = RUNS
    elif what == "len":
        n.logs[p] += ((len(s.buf[i]),),)
    elif what == "lock":
        if s.held[i]:
            return []
        n.held[i] = True
    elif what == "unlock":
        if not s.held[i]:
            return [panic(s, p, "sync: unlock of unlocked mutex")]
        n.held[i] = False
    elif what == "done":
        if not s.groups[i]:
            return [panic(s, p, "sync: negative WaitGroup counter")]
        n.groups[i] -= 1
    elif what == "wait" and s.groups[i]:
        return []
    return [n]


def cases_of(program, s, p):
    what, *args = program["Procs"][p][s.pc[p]]
    return args[0] if what == "select" else [["recv" if what == "range" else what, *args]]


def communicate(program, s, p, has_default):
    """Each of the cases that are ready, else default, else to wait in all of them."""
    cases, after = cases_of(program, s, p), []
    for k, (direction, c, *v) in enumerate(cases):
        if program["Chans"][c] < 0:
            continue
        if direction == "send" and s.closed[c]:
            after.append(panic(s, p, "send on closed channel"))
        elif direction == "send" and s.recvq[c]:
            for q, j in heads(s.recvq[c]):
                after.append(s.copy())
                finish(program, after[-1], q, j, *v)
                finish(program, after[-1], p, k)
        elif direction == "send" and len(s.buf[c]) < program["Chans"][c]:
            after.append(s.copy())
            after[-1].buf[c] += (*v,)
            finish(program, after[-1], p, k)
        elif direction == "recv" and s.sendq[c]:
            for q, j in heads(s.sendq[c]):
                n = s.copy()
                after.append(n)
                first, *rest = *n.buf[c], cases_of(program, s, q)[j][2]
                n.buf[c] = tuple(rest)
                finish(program, n, q, j)
                finish(program, n, p, k, first)
        elif direction == "recv" and s.buf[c]:
            after.append(s.copy())
            after[-1].buf[c] = s.buf[c][1:]
            finish(program, after[-1], p, k, s.buf[c][0])
        elif direction == "recv" and s.closed[c]:
            after.append(s.copy())
            finish(program, after[-1], p, k, 0, False)
    if after:
        return after
    n = s.copy()
    if has_default:
        n.pc[p] += 1
        n.logs[p] += ((len(cases),),)
        return [n]
    n.status[p] = WAITS
    for k, (direction, c, *_) in enumerate(cases):
        if program["Chans"][c] >= 0:
            (n.sendq if direction == "send" else n.recvq)[c] += ((p, k),)
    return [n]


def heads(queue):
    """The first that waits there, with any of the cases in which it does: their order is random."""
    return [(q, j) for q, j in queue if q == queue[0][0]]


def finish(program, s, p, k, v=None, ok=True):
    """p has done its case k, at once or after waiting; v: what it received."""
    what = program["Procs"][p][s.pc[p]][0]
    if s.status[p] == WAITS:
        s.status[p] = RUNS
        for queues in (s.recvq, s.sendq):
            for c, queue in enumerate(queues):
                queues[c] = tuple(x for x in queue if x[0] != p)
    s.pc[p] += what != "range" or not ok
    if what == "select":
        s.logs[p] += ((k,) if v is None else (k, v, ok),)
    elif what == "recv":
        s.logs[p] += ((v, ok),)
    elif what == "range" and ok:
        s.logs[p] += ((v,),)


def close(program, s, p, c):
    """Those who wait to receive go on, those who wait to send panic when they run."""
    if program["Chans"][c] < 0:
        return [panic(s, p, "close of nil channel")]
    if s.closed[c]:
        return [panic(s, p, "close of closed channel")]
    n = s.copy()
    n.pc[p] += 1
    n.closed[c] = True
    after, done = [n], []
    while after:
        n = after.pop()
        if n.recvq[c]:
            for q, j in heads(n.recvq[c]):
                after.append(n.copy())
                finish(program, after[-1], q, j, 0, False)
            continue
        for q in {q for q, _ in n.sendq[c]}:
            finish(program, n, q, 0)
            n.status[q] = PANICS
        done.append(n)
    return done
