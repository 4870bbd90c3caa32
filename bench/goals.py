"""The figures that ramet is to reach, as ratios within one run on one machine, and how they came out."""

from dataclasses import dataclass

import rows as r

MET, NEAR, MISSED = "met", "within 1.3x", "missed"
NEARLY = 1.3


@dataclass(frozen=True)
class Goal:
    """median of (bench, who) <= limit x median of (base or bench, against) + plus; against "": <= limit."""

    face: str
    bench: str
    who: str
    limit: float
    against: str = "Go"
    base: str = ""
    plus: float = 0.0

    def text(self):
        if not self.against:
            return f"<= {self.limit:,g}"
        what = self.base[self.base.find("beside ") if "beside " in self.base else 0 :] or self.against
        if self.plus:
            return f"<= {what} + {self.plus:g} ns"
        return f"<= {self.limit:g} x {what}"


def python_goals():
    to_go = {
        **of_every_version(),
        "echo 64 B x 64: server CPU a request": 0.75,
        "echo 64 B x 1000: server CPU a request": 0.65,
    }
    goals = [Goal(r.PYTHON, bench, "ramet", limit) for bench, limit in to_go.items()]
    for conns in (64, 1000):
        goals.append(Goal(r.PYTHON, f"echo 64 B x {conns}: p99", "ramet", 1.0, "uvloop protocols"))
    for conns, limit in ((64, 0.88), (1000, 0.70)):
        bench = f"echo 16 KiB x {conns}: server CPU a request"
        goals.append(Goal(r.PYTHON, bench, "ramet readinto", limit))
    for gap in ("back to back", "every 100 us", "every 1 ms"):
        for cores in ("2 cores", "1 core"):
            limit = 0.1 if (gap, cores) == ("back to back", "2 cores") else 0.7
            goals.append(Goal(r.PYTHON, f"blocking {gap}, {cores}", "ramet", limit, r.BEST_PYTHON))
    goals.append(Goal(r.PYTHON, "mutex, alone", "ramet", 1.3, "ramet", r.CALLS))
    goals.append(Goal(r.PYTHON, "timeout block", "ramet", 1.5, "ramet", r.CALLS))  # of three calls
    goals.append(Goal(r.PYTHON, "hog loop, a round", "ramet preempt", 1.01, "ramet"))
    goals.append(Goal(r.PYTHON, "echo 64 B x 100 beside 4 hogs: p99", "ramet preempt", 25_000, ""))
    goals.append(Goal(r.PYTHON, "parked 1,000,000: memory a task", "ramet", 5200, ""))
    goals.append(Goal(r.PYTHON, "parked 1,000,000: time", "ramet", 5, ""))
    return goals


def of_every_version():
    """To Go: what each interpreter is held to."""
    return {
        "yield": 0.5,
        "yield, 1,000 ready": 0.5,
        "spawn, exit, join": 0.7,
        "start 10,000, join all": 1.0,
        "ping-pong, unbuffered": 0.4,
        "producer to consumer, unbuffered": 0.4,
        "producer to consumer, capacity 128": 1.0,
        "select ready, 2 cases": 1.2,
        "select ready, 8 cases": 0.5,
        "select blocking, 2 cases": 0.6,
        "select blocking, 8 cases": 0.4,
        "10,000 sleepers: CPU a sleep": 1.0,
        "one timer: start and stop": 1.0,
    }


def version_goals():
    goals = []
    for version in r.INTERPRETERS:
        if version.endswith("t"):  # the design has none for free-threaded builds
            continue
        who = f"ramet {version}"
        goals += [Goal(r.VERSIONS, bench, who, limit) for bench, limit in of_every_version().items()]
        goals.append(Goal(r.VERSIONS, "mutex, alone", who, 1.3, who, r.CALLS))
        goals.append(Goal(r.VERSIONS, "timeout block", who, 1.5, who, r.CALLS))
        goals.append(Goal(r.VERSIONS, "parked 100,000: memory a task", who, 5200, ""))
        goals.append(Goal(r.VERSIONS, "call at the end of a chunk", who, 100, ""))
    return goals


def net_goals():
    """Of rows for which the design has no goals; these are ours."""
    goals = [Goal(r.PYTHON, "line protocol x 64: server CPU a request", "ramet", 1.0, "uvloop protocols")]
    to_go = (
        ("echo 64 B x 10000: server CPU a request", "ramet"),
        ("echo 16 KiB x 10000: server CPU a request", "ramet readinto"),
        ("TLS echo 64 B x 64: server CPU a request", "ramet"),
        ("TLS echo 16 KiB x 64: server CPU a request", "ramet readinto"),
        ("UDP 64 B x 64: server CPU a datagram", "ramet"),
        ("accept, a byte, close x 64: server CPU a connection", "ramet"),
        ("copy of 1 GiB, file to socket: server CPU", "ramet"),
        ("copy of 1 GiB, socket to socket: server CPU", "ramet"),
    )
    goals += [Goal(r.PYTHON, bench, who, 1.0) for bench, who in to_go]
    for mode in ("ramet serialised", "ramet locked"):
        goals += [Goal(r.C, bench, mode, 1.0) for bench, _ in to_go if bench.startswith(("echo", "accept"))]
    return goals


def c_goals():
    to_go = {
        "yield": (0.24, 0.35),
        "start 10,000, join all": (0.17, 0.25),
        "ping-pong, unbuffered": (0.26, 0.40),
        "producer to consumer, capacity 128": (0.47, 0.7),
        "select ready, 2 cases": (0.31, 0.6),
        "select ready, 8 cases": (0.11, 0.4),
        "select blocking, 2 cases": (0.27, 0.5),
        "select blocking, 8 cases": (0.17, 0.4),
        "mutex, alone": (0.5, 1.0),
        "mutex, 8 contenders that yield": (0.5, 0.5),  # the design's are on two procs
        "1,000,000 timers: create": (0.3, 0.5),
        "1,000,000 timers: stop": (2, 3),
    }
    goals = []
    for mode, which in (("ramet serialised", 0), ("ramet locked", 1)):
        goals += [Goal(r.C, bench, mode, limits[which]) for bench, limits in to_go.items()]
        goals.append(Goal(r.C, "parked 1,000,000: memory a task", mode, 4300, ""))
        for size in ("64 B", "16 KiB"):
            for conns in (64, 1000):
                bench = f"echo {size} x {conns}: server CPU a request"
                goals.append(Goal(r.C, bench, mode, 1.0, "epoll", plus=150.0))
    return goals


def scale_goals():
    """An operation costs no more beside very many things that stand still than beside the fewest, 1,000."""
    goals = []
    for face, who in ((r.PYTHON, "ramet"), (r.C, "ramet serialised")):
        for operation in ("yield", "message", "echo"):
            for kind, what in r.KINDS:
                base = r.scale_name(operation, r.AMOUNTS[0], what)
                for amount in r.AMOUNTS[1:]:
                    bench = r.scale_name(operation, r.amount_of(kind, amount), what)
                    goals.append(Goal(face, bench, who, 1.0, who, base))
    return goals


GOALS = python_goals() + version_goals() + c_goals() + net_goals() + scale_goals()


def verdict(measured, limit):
    return MET if measured <= limit else NEAR if measured <= NEARLY * limit else MISSED


def judge(results):
    """(goal, what was measured in the goal's unit, verdict) for every goal whose figures are there."""
    median = {(x["face"], x["bench"], x["who"]): x["median"] for x in results}
    judged = []
    for goal in GOALS:
        mine = median.get((goal.face, goal.bench, goal.who))
        if mine is None:
            continue
        if not goal.against:
            judged.append((goal, mine, verdict(mine, goal.limit)))
            continue
        bench = goal.base or goal.bench
        if goal.against == r.BEST_PYTHON:
            others = [m for (f, b, w), m in median.items() if (f, b) == (goal.face, bench) and is_peer(w)]
            theirs = min(others, default=None)
        else:
            theirs = median.get((goal.face, bench, goal.against))
        if theirs:
            limit = goal.limit + goal.plus / theirs
            judged.append((goal, mine / theirs, verdict(mine / theirs, limit)))
    return judged


def is_peer(who):
    """Another Python library: neither ramet nor Go, nor the floor."""
    return who not in ("Go", "epoll") and not who.startswith("ramet")
