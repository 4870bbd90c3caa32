"""What is measured and who takes part: the table of rows, of their figures, and of the contestants."""

import resource
from dataclasses import dataclass

PYTHON, C, VERSIONS = "python", "c", "versions"
FACES = (PYTHON, C, VERSIONS)  # the last: ramet for Python on each interpreter that there is
BOTH = (PYTHON, C)
ON_PYTHON = (PYTHON, VERSIONS)
BEST_PYTHON = "the best Python peer"
KEYS = 1000  # of the line protocol
COPY_SIZE = 1 << 30


@dataclass(frozen=True)
class Figure:
    """One number of a sample: which key of its JSON, under which bench name, in which unit."""

    key: str
    bench: str
    unit: str
    scale: float = 1.0


@dataclass(frozen=True)
class Load:
    """The load generator of a row whose program is a server: c/load.h says what it is told."""

    program: str
    size: int
    conns: int
    idle: int = 0
    length: float = 1.0  # of the seconds of an echo sample
    twice: bool = True  # a run that is thrown away warms the server up
    files: tuple = ()  # that must have been made


@dataclass(frozen=True)
class Row:
    """One kind of sample. `row` is the programs' name for it; `who` restricts it to some contestants."""

    name: str
    row: str
    figures: tuple
    group: str
    faces: tuple = BOTH
    args: tuple = ()
    cores: int = 1
    runs: int | None = None
    timeout: int = 120
    load: Load | None = None
    who: str | None = None  # a regular expression over the contestants
    together: str = ""  # rows of one name are interleaved with each other
    heavy: bool = False  # left out of --quick unless asked for
    memory: int = 0  # bytes that must be free


@dataclass(frozen=True)
class Peer:
    """A contestant: how it is started, and with which arguments for which rows."""

    name: str
    face: str
    program: str
    needs: str = ""  # the Python package, or the tool, that must be there
    args: tuple = ()
    only: tuple | None = None  # the rows it takes part in; None: all
    python: str = ""  # which interpreter it runs on, if not the benchmarks' own

    def takes(self, row):
        return row.faces and self.face in row.faces and (self.only is None or row.row in self.only)


MICRO = ("yield", "spawn", "startmany", "pingpong", "unbuffered", "buffered", "selectready", "selectblock")
CALLS = "two empty method calls"
LOCKS = ("mutex", "mutexbusy", "timeout", "group", "queue")
PREEMPTED = ("hog", "echo")  # of the last: those beside hogs
INTERPRETERS = ("3.11", "3.12", "3.13", "3.13t", "3.14", "3.15")
PLAIN = (*MICRO, *LOCKS, "parked", "sleepers", "blocking", "timers", "timerchurn")
NET = ("echo", "line", "tls", "udp", "accept", "copyfile", "copysocket")
FLOOR = ("line", "udp", "accept", "copyfile", "copysocket")

PEERS = (
    Peer("ramet", PYTHON, "python/bench_ramet.py", "ramet"),
    Peer("ramet readinto", PYTHON, "python/bench_ramet.py", "ramet", ("--variant", "readinto"), ("echo", "tls")),
    Peer("ramet preempt", PYTHON, "python/bench_ramet.py", "ramet", ("--variant", "preempt"), PREEMPTED),
    Peer("Go", PYTHON, "bench_go", "go"),
    Peer("runloom", PYTHON, "python/peer_runloom.py", "runloom"),
    Peer("greenlet", PYTHON, "python/peer_greenlet.py", "greenlet"),
    Peer("gevent", PYTHON, "python/peer_gevent.py", "gevent"),
    Peer("asyncio", PYTHON, "python/peer_asyncio.py", "", (), PLAIN),
    Peer("uvloop", PYTHON, "python/peer_asyncio.py", "uvloop", ("--variant", "uvloop"), PLAIN),
    Peer("asyncio streams", PYTHON, "python/peer_asyncio.py", "", ("--variant", "streams"), NET),
    Peer("asyncio protocols", PYTHON, "python/peer_asyncio.py", "", ("--variant", "protocols"), NET),
    Peer("uvloop streams", PYTHON, "python/peer_asyncio.py", "uvloop", ("--variant", "uvloop-streams"), NET),
    Peer(
        "uvloop protocols",
        PYTHON,
        "python/peer_asyncio.py",
        "uvloop",
        ("--variant", "uvloop-protocols"),
        NET,
    ),
    Peer("trio", PYTHON, "python/peer_trio.py", "trio"),
    Peer("threads", PYTHON, "python/peer_threads.py"),
    Peer("epoll", PYTHON, "peer_epoll", "cc", (), FLOOR),
    *(Peer(f"ramet {v}", VERSIONS, "python/bench_ramet.py", f"ramet {v}", python=v) for v in INTERPRETERS),
    Peer("Go", VERSIONS, "bench_go", "go"),
    Peer("ramet serialised", C, "bench_ramet", "libramet"),
    Peer("ramet locked", C, "bench_ramet", "libramet", ("--locked",)),
    Peer("Go", C, "bench_go", "go"),
    Peer("libuv", C, "peer_libuv", "libuv"),
    Peer("epoll", C, "peer_epoll", "cc"),
)

# Which of libramet's programs has a row.
C_PROGRAMS = {
    "bench_goroutine": ("yield", "spawn", "startmany", "parked", "sleepers"),
    "bench_chan": ("pingpong", "unbuffered", "buffered"),
    "bench_select": ("selectready", "selectblock"),
    "bench_timer": ("timers", "timerchurn"),
    "bench_blocking": ("blocking",),
    "bench_net": ("echo", "accept"),
    "bench_sync": ("mutex", "mutexbusy"),
}


def micro(name, row, group, *args, faces=FACES, **more):
    return Row(name, row, (Figure("ns", name, "ns"),), group, faces, args, **more)


NO_HOGS = "^(?!ramet preempt$)"


def echo_beside_hogs(hogs, conns):
    """What a request waits while others compute: CPU and requests a second say nothing here."""
    name = f"echo 64 B x {conns} beside {hogs} hogs"
    figures = (Figure("p50_us", f"{name}: p50", "us"), Figure("p99_us", f"{name}: p99", "us"))
    load = Load("echo_load", 64, conns, length=2.0)
    who = "^(?!ramet readinto$|asyncio streams$|uvloop streams$)"
    return Row(name, "echo", figures, "preemption", (PYTHON,), ("--hogs", str(hogs)), load=load, who=who)


def net_figures(name, what):
    return (
        Figure("cpu_ns", f"{name}: server CPU a {what}", "ns"),
        Figure("rps", f"{name}: {what}s a second", "1/s"),
        Figure("p50_us", f"{name}: p50", "us"),
        Figure("p99_us", f"{name}: p99", "us"),
        Figure("p999_us", f"{name}: p99.9", "us"),
    )


def net(name, row, load, what="request", group="net", **more):
    return Row(name, row, net_figures(name, what), group, load=load, **more)


def echo(size, text, conns):
    return net(f"echo {text} x {conns}", "echo", Load("echo_load", size, conns), group="echo", who=NO_HOGS)


def echo_many(size, text):
    """10,000 connections: most of a sample's time is opening them, and so many threads are no server."""
    load = Load("echo_load", size, 10_000, length=0.7, twice=False)
    who = "^(?!threads$|ramet preempt$)"
    return net(f"echo {text} x 10000", "echo", load, group="echo", runs=3, who=who)


def tls(size, text):
    load = Load("tls_load", size, 64, length=0.5, files=("cert.pem",))
    return net(f"TLS echo {text} x 64", "tls", load, faces=(PYTHON,))


def copy(text, row, conns):
    name = f"copy of 1 GiB, {text}"
    figures = (Figure("cpu_s", f"{name}: server CPU", "s"), Figure("wall_s", f"{name}: time", "s"))
    load = Load("copy_load", COPY_SIZE, conns, twice=False, files=("copy.dat",))
    return Row(name, row, figures, "copy", (PYTHON,), load=load, memory=2 << 30)


def parked(n, text, **more):
    name = f"parked {text}"
    figures = (Figure("bytes", f"{name}: memory a task", "B"), Figure("seconds", f"{name}: time", "s"))
    return Row(name, "parked", figures, "parked", args=("--n", str(n)), timeout=300, **more)


def blocking(gap, text, cores):
    name = f"blocking {text}, {cores} core{'s' * (cores > 1)}"
    figures = (Figure("ns", name, "ns"), Figure("cpu_ns", f"{name}: CPU a call", "ns"))
    return Row(name, "blocking", figures, "blocking", args=("--gap", str(gap)), cores=cores)


SLEEPERS = (Figure("cpu_ns", "10,000 sleepers: CPU a sleep", "ns"),)
TIMERS = (
    Figure("create_ns", "1,000,000 timers: create", "ns"),
    Figure("stop_ns", "1,000,000 timers: stop", "ns"),
)

ROWS = [
    micro("yield", "yield", "switch", "--n", "2"),
    micro("yield, 1,000 ready", "yield", "switch", "--n", "1000"),
    micro("spawn, exit, join", "spawn", "switch"),
    micro("start 10,000, join all", "startmany", "switch"),
    micro("ping-pong, unbuffered", "pingpong", "messages"),
    micro("producer to consumer, unbuffered", "unbuffered", "messages"),
    micro("producer to consumer, capacity 128", "buffered", "messages"),
    micro("select ready, 2 cases", "selectready", "select", "--n", "2"),
    micro("select ready, 8 cases", "selectready", "select", "--n", "8"),
    micro("select blocking, 2 cases", "selectblock", "select", "--n", "2"),
    micro("select blocking, 8 cases", "selectblock", "select", "--n", "8"),
    micro("mutex, alone", "mutex", "locks"),
    micro("mutex, 8 contenders that yield", "mutexbusy", "locks", "--n", "8"),
    micro(CALLS, "calls", "locks", faces=ON_PYTHON),
    micro("timeout block", "timeout", "locks", faces=ON_PYTHON),
    micro("group of 10", "group", "locks", faces=ON_PYTHON),
    micro("queue of 128, put and get", "queue", "locks", faces=ON_PYTHON),
    micro("call at the end of a chunk", "boundary", "switch", faces=(VERSIONS,)),
    micro("hog loop, a round", "hog", "preemption", faces=(PYTHON,), who="^ramet( preempt)?$"),
    echo_beside_hogs(4, 100),
    Row("10,000 sleepers", "sleepers", SLEEPERS, "timers", FACES, args=("--n", "10000")),
    Row("1,000,000 timers", "timers", TIMERS, "timers", (C,), ("--n", "1000000")),
    Row("one timer", "timerchurn", (Figure("ns", "one timer: start and stop", "ns"),), "timers", FACES),
    parked(100_000, "100,000", faces=FACES, memory=2 << 30),
    parked(1_000_000, "1,000,000", runs=3, heavy=True, memory=11 << 30),
    blocking(0, "back to back", 2),
    blocking(100e-6, "every 100 us", 2),
    blocking(1e-3, "every 1 ms", 2),
    blocking(0, "back to back", 1),
    blocking(100e-6, "every 100 us", 1),
    blocking(1e-3, "every 1 ms", 1),
    echo(64, "64 B", 64),
    echo(64, "64 B", 1000),
    echo(16384, "16 KiB", 64),
    echo(16384, "16 KiB", 1000),
    echo_many(64, "64 B"),
    echo_many(16384, "16 KiB"),
    net("line protocol x 64", "line", Load("line_load", KEYS, 64, length=0.5), faces=(PYTHON,)),
    tls(64, "64 B"),
    tls(16384, "16 KiB"),
    net("UDP 64 B x 64", "udp", Load("udp_load", 64, 64, length=0.5), "datagram", faces=(PYTHON,)),
    net("accept, a byte, close x 64", "accept", Load("accept_load", 1, 64, length=0.5), "connection"),
    copy("file to socket", "copyfile", 1),
    copy("socket to socket", "copysocket", 2),
]

# ---- what an operation costs beside many things that stand still: ramet alone ----

KINDS = (("parked", "parked goroutines"), ("sleepers", "pending timers"), ("conns", "open connections"))
AMOUNTS = (1_000, 10_000, 100_000)
NOTHING = "nothing"
DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # the hard limit, which every sample is given


def ephemeral_ports():
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        low, high = map(int, f.read().split())
    return high - low + 1


PORTS = ephemeral_ports()


def amount_of(kind, amount):
    """Connections are bounded by descriptors and by ports, of which some are left for everything else."""
    return min(amount, DESCRIPTORS - 200, PORTS - 2000) if kind == "conns" else amount


def scale_name(operation, amount, what):
    return f"{operation} beside " + (f"{amount:,} {what}" if amount else NOTHING)


def scale_rows():
    rows = []
    operations = (("yield", "yield"), ("message", "pingpong"), ("echo", "echo"))
    for operation, row in operations:
        for kind, what, amount in scale_points():
            name = scale_name(operation, amount, what)
            load = None
            args = (f"--{kind}", str(amount)) if amount else ()
            figures = (Figure("ns", name, "ns"),)
            if operation == "echo":
                load = Load("echo_load", 64, 64, amount if kind == "conns" else 0)
                args = () if kind == "conns" else args
                figures = (Figure("cpu_ns", name, "ns"),)
            who = "^ramet( serialised)?$"
            more = {"load": load, "who": who, "together": f"scale {operation}"}
            rows.append(Row(name, row, figures, "scale", BOTH, args, **more))
    return rows


def scale_points():
    """(kind, words, amount), each once; the first is nothing at all."""
    points = [("parked", "", 0)]
    for kind, what in KINDS:
        for amount in AMOUNTS:
            point = (kind, what, amount_of(kind, amount))
            if point not in points:
                points.append(point)
    return points


ROWS += scale_rows()
