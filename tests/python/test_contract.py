"""Every name of the spine exists, is spelled so, says what it does, and nothing else is exported by accident."""

import inspect
import types

import pytest
import ramet
import ramet.time

NAMES = """
go Goroutine current run configure maintask gosched Chan makechan select Selection default blocking syscall
set_max_threads num_goroutines procs stats dump excepthook readable writable RametError ChannelError ChanClosed
WouldBlock PanicError DeadlockError GoroutineCancelled Cancelled __version__
Goroutine.join Goroutine.result Goroutine.exception Goroutine.done Goroutine.cancel Goroutine.cancelled
Goroutine.name Goroutine.id Goroutine.state Goroutine.stack Goroutine.if_done
Chan.send Chan.recv Chan.recv_ok Chan.try_send Chan.try_recv Chan.close Chan.send_exception Chan.capacity Chan.closed
Chan.name Chan.if_recv Chan.if_send Chan.__iter__ Chan.__len__ Chan.__class_getitem__
Selection.index Selection.case Selection.chan Selection.value Selection.ok
time.NANOSECOND time.MICROSECOND time.MILLISECOND time.SECOND time.MINUTE time.HOUR time.sleep time.now time.monotonic
net.dial net.listen net.serve net.Listener net.Conn net.lookup_host
net.Conn.read net.Conn.readinto net.Conn.write net.Conn.close net.Conn.fileno net.Conn.local_addr net.Conn.remote_addr
net.Conn.set_deadline net.Conn.set_read_deadline net.Conn.set_write_deadline
net.listen_packet net.from_fd net.Conn.send_fds net.Conn.recv_fds
net.Listener.accept net.Listener.addr net.Listener.close net.Listener.__iter__
io.pipe io.copy io.open os.run os.Popen os.Popen.wait os.Popen.communicate os.signal.notify os.signal.stop
gather wait as_completed Group timeout move_on_after cancel_scope shield Executor local
no_preempt Group.go Group.map Group.cancel Group.__enter__ Group.__exit__
time.Timer time.after time.after_func time.Ticker time.tick time.After time.AfterFunc time.Tick
time.Timer.c time.Timer.stop time.Timer.reset time.Ticker.c time.Ticker.stop time.Ticker.reset
sync.Mutex sync.Lock sync.RLock sync.RWMutex sync.Cond sync.Condition sync.WaitGroup sync.Once sync.once_value sync.Semaphore
sync.BoundedSemaphore sync.Event sync.Barrier sync.Queue sync.LifoQueue sync.PriorityQueue sync.SimpleQueue sync.Empty
sync.Full sync.ShutDown sync.Future sync.atomic.AtomicLong
sync.Mutex.lock sync.Mutex.unlock sync.Mutex.try_lock sync.Mutex.acquire sync.Mutex.release sync.Mutex.locked
sync.RWMutex.lock sync.RWMutex.unlock sync.RWMutex.rlock sync.RWMutex.runlock sync.RWMutex.rlocker
sync.Cond.wait sync.Cond.signal sync.Cond.broadcast sync.Cond.wait_for sync.Cond.notify sync.Cond.notify_all
sync.WaitGroup.add sync.WaitGroup.done sync.WaitGroup.wait sync.WaitGroup.go sync.Once.do
sync.Event.set sync.Event.clear sync.Event.is_set sync.Event.wait sync.Event.if_set
sync.Queue.put sync.Queue.get sync.Queue.put_nowait sync.Queue.get_nowait sync.Queue.qsize sync.Queue.empty
sync.Queue.full sync.Queue.task_done sync.Queue.join sync.Queue.shutdown
sync.atomic.AtomicLong.add sync.atomic.AtomicLong.sub sync.atomic.AtomicLong.set sync.atomic.AtomicLong.get
sync.atomic.AtomicLong.swap sync.atomic.AtomicLong.compare_and_swap sync.atomic.AtomicLong.value
context.background context.with_cancel context.with_cancel_cause context.with_timeout context.with_deadline
context.with_value context.without_cancel context.after_func context.cause context.Canceled context.DeadlineExceeded
""".split()

# names of later parts: not even stubs
LATER = """
patch std compat aio process cluster trace testing
""".split()


def look_up(name):
    obj = ramet
    for part in name.split("."):
        obj = getattr(obj, part)
    return obj


@pytest.mark.parametrize("name", NAMES)
def test_name(name):
    look_up(name)


@pytest.mark.parametrize("name", LATER)
def test_no_stub(name):
    assert not hasattr(ramet, name)


@pytest.mark.parametrize("name", [n for n in NAMES if not n.isupper()])
def test_is_documented(name):
    obj = look_up(name)
    if callable(obj) and not name.endswith("__class_getitem__"):
        assert (inspect.getdoc(obj) or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize(
    "name",
    "go run configure gosched select blocking syscall set_max_threads Chan.send Chan.recv Chan.recv_ok Chan.close "
    "Goroutine.join Goroutine.result Goroutine.exception Goroutine.cancel time.sleep".split(),
)
def test_says_whether_it_can_park(name):
    doc = inspect.getdoc(look_up(name)).lower()
    assert "park" in doc or "otherwise as" in doc, doc


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("go", "(fn, /, *args, **kwargs)"),
        ("blocking", "(fn, /, *args, **kwargs)"),
        ("select", "(*cases, timeout=None)"),
        ("makechan", "(size=0, label=None)"),
        ("Chan", "(capacity=0, *, name=None)"),
        ("Chan.send", "(v, timeout=None)"),
        ("Chan.recv", "(timeout=None)"),
        ("Chan.recv_ok", "(timeout=None)"),
        ("Goroutine.join", "(timeout=None)"),
        ("Goroutine.cancel", "(msg=None)"),
        ("time.sleep", "(d, /)"),
    ],
)
def test_signature(name, signature):
    obj = look_up(name)
    text = obj.__doc__ if isinstance(obj, type) else obj.__text_signature__
    plain = (text or "").replace("$self, ", "").replace("($self)", "()").replace("$module, ", "")
    if isinstance(obj, type):
        assert f"{name}{signature}" in plain or str(inspect.signature(obj)) == signature
    else:
        assert plain.split("\n")[0] == signature or str(inspect.signature(obj)) == signature


def test_all():
    assert len(set(ramet.__all__)) == len(ramet.__all__)
    for name in ramet.__all__:
        obj = getattr(ramet, name)
        assert not isinstance(obj, types.ModuleType), f"{name} is a module"
        assert not name.startswith("_")
    top = {n for n in NAMES if "." not in n and not n.startswith("_")}
    assert top <= set(ramet.__all__), top - set(ramet.__all__)


def test_no_function_has_the_name_of_a_submodule():
    for name in ("time", "net"):
        assert isinstance(getattr(ramet, name), types.ModuleType)


def test_version():
    parts = ramet.__version__.split(".")
    assert len(parts) >= 3 and all(p.isdigit() for p in parts[:2])


@pytest.mark.parametrize(
    ("exc", "bases"),
    [
        ("RametError", [Exception]),
        ("ChannelError", ["RametError"]),
        ("ChanClosed", ["ChannelError"]),
        ("WouldBlock", ["ChannelError"]),
        ("PanicError", ["RametError", RuntimeError]),
        ("DeadlockError", ["RametError"]),
        ("GoroutineCancelled", ["RametError"]),
    ],
)
def test_exceptions(exc, bases):
    cls = getattr(ramet, exc)
    for base in bases:
        assert issubclass(cls, getattr(ramet, base) if isinstance(base, str) else base)
    assert cls.__module__ == "ramet" and cls.__qualname__ == exc


def test_cancelled_is_no_exception():
    assert issubclass(ramet.Cancelled, BaseException) and not issubclass(ramet.Cancelled, Exception)
    assert not issubclass(ramet.GoroutineCancelled, ramet.Cancelled)


def test_exceptions_can_be_pickled():
    import pickle

    for name in ("ChanClosed", "WouldBlock", "DeadlockError", "GoroutineCancelled", "Cancelled", "PanicError"):
        e = pickle.loads(pickle.dumps(getattr(ramet, name)("text")))
        assert type(e) is getattr(ramet, name) and e.args == ("text",)


def test_types_say_where_they_live():
    for cls in (ramet.Chan, ramet.Goroutine, ramet.Selection):
        assert cls.__module__ == "ramet"


def test_no_object_can_be_changed_from_outside():
    for cls in (ramet.Chan, ramet.Goroutine, ramet.Selection):
        with pytest.raises(TypeError):
            cls.anything = 1
