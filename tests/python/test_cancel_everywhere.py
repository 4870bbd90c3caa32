"""A session of each kind is cancelled at its k-th line, for every k, and leaves nothing: no goroutine, descriptor, timer,
child or lock. Both by cancel(), which raises once, and by a scope, which raises at every wait until its block is left.

Lines of ramet's own Python code count, too. Who cancels is started at that line: it runs when the session parks.
"""

import os
import sys

import pytest
import ramet
from helpers import SLOW, T, until
from ramet import Chan, GoroutineCancelled, Group, blocking, cancel_scope, context, go, gosched, io, net, select, sync
from ramet import os as ros
from ramet.time import Ticker, Timer, after, sleep

pytestmark = pytest.mark.long

OURS = (__file__, os.path.dirname(ramet.__file__) + os.sep)


def descriptors():
    return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()


class Run:
    """A session in a goroutine of its own, cancelled at its k-th line; `told`: whether it came to that."""

    def __init__(self, session, k, by_scope, turns):
        self.session, self.k, self.turns = session, k, turns
        self.scope = cancel_scope()
        self.told = self.over = False
        self.lines = 0
        self.g = go(self.within if by_scope else self.alone)
        self.cancel = self.scope.cancel if by_scope else self.g.cancel
        sys.settrace(self.called)
        try:
            self.exception = self.g.exception(T)
        except TimeoutError:
            at = [(f.filename, f.lineno) for f in self.g.stack()]
            raise AssertionError(f"cancelled at line {k}, it hangs at {self.g.state} {at}") from None
        finally:
            sys.settrace(None)

    def alone(self):
        self.session()
        self.over = True
        gosched()  # what came behind the session's last shield

    def within(self):
        with self.scope:
            self.alone()

    def called(self, frame, event, arg):
        return self.line if frame.f_code.co_filename.startswith(OURS) else None

    def line(self, frame, event, arg):
        if event == "line" and ramet.current() is self.g:
            self.lines += 1
            if self.lines == self.k:
                go(self.tell)
        return self.line

    def tell(self):
        for _ in range(self.turns):
            gosched()
        if not self.over:
            self.told = True
            self.cancel()


# ---- the sessions: functions of no argument, made with what they use and a check of that ------------------------------------


def sync_session():
    locks = [sync.Mutex(), sync.RLock(), sync.RWMutex(), sync.Semaphore(1)]
    m, r, rw, s = locks
    cond, event, queue, bounded = sync.Cond(sync.Mutex()), sync.Event(), sync.Queue(), sync.Queue(1)
    barrier = sync.Barrier(2)

    def helper():
        """Has everything a while, then makes each wait of the session end."""
        with m, r, rw, s:
            sleep(0.0003)
        with cond:
            cond.notify_all()
        sleep(0.0003)
        with cond:
            cond.notify_all()
        sleep(0.0003)
        event.set()
        queue.put(1)
        with ramet.move_on_after(0.003):
            try:
                barrier.wait()
            except sync.BrokenBarrierError:
                pass

    def session():
        event.clear()
        barrier.reset()
        h = go(helper)
        try:
            gosched()
            with m:
                sleep(0.0001)
            with r, r, rw.rlocker(), s:
                sleep(0.0001)
            with rw:
                gosched()
            with cond:
                cond.wait(0.001)
            event.wait()
            queue.get()
            bounded.put(1)
            try:
                bounded.put(2, timeout=0.0003)
            except sync.Full:
                pass
            try:
                barrier.wait()
            except sync.BrokenBarrierError:
                pass
        finally:
            with ramet.shield():
                h.cancel()
                h.exception()
                while not queue.empty():
                    queue.get_nowait()
                while not bounded.empty():
                    bounded.get_nowait()

    def check():
        for lock in (m, rw, cond._lock, queue.mutex, bounded.mutex):
            assert lock.try_lock(), lock
            lock.unlock()
        assert r.try_lock() and s.acquire(False)
        r.unlock()
        s.release()
        queue.put("still works")
        assert queue.get() == "still works"

    return session, check


def channel_session():
    c, d = Chan(), Chan(2)

    def session():
        def produce():
            for i in range(3):
                c.send(i)
            c.recv()

        g = go(produce)
        try:
            assert [c.recv(), select(c, d.if_recv()).value, next(c)] == [0, 1, 2]
            ticker = Ticker(0.0002)
            try:
                ticker.c.recv()
                select(ticker.c, Chan(), timeout=T)
            finally:
                ticker.stop()
            timer = Timer(T)
            try:
                select(timer.c, after(0.0002))
            finally:
                timer.stop()
            try:
                d.recv(0.0002)
            except TimeoutError:
                pass
            with ramet.move_on_after(0.0003):
                Chan().recv()
            c.send(None)
        finally:
            g.cancel()
            with ramet.shield():
                g.exception()

    def check():
        assert c.try_send(1) is False and len(d) == 0  # nobody stands in a queue
        with pytest.raises(ramet.WouldBlock):
            c.try_recv()

    return session, check


def structure_session():
    ended = []

    def member(n):
        try:
            sleep(0.0001 * n)
            if n == 9:
                raise KeyError
            return n
        finally:
            ended.append(n)

    def session():
        ended.clear()
        with Group(2) as group:
            assert group.map(member, range(4)) == [0, 1, 2, 3]
        try:
            with Group() as group:
                group.go(sleep, T)
                with Group() as inner:
                    inner.go(sleep, 0.0002)
                group.go(member, 9)
                sleep(T)
        except* KeyError:
            pass
        gs = [go(member, i) for i in range(3)]
        try:
            assert ramet.gather(*gs) == [0, 1, 2]
            assert len(list(ramet.as_completed([go(member, 1), go(member, 2)]))) == 2
        finally:
            for g in gs:
                g.cancel()
        ctx, cancel = context.with_timeout(context.background(), 0.0005)
        try:
            with ctx:
                Chan().recv()
        except context.DeadlineExceeded:
            pass
        finally:
            cancel()
        with ramet.Executor(1) as executor:
            assert list(executor.map(member, [1, 2])) == [1, 2]

    return session, lambda: None


def thread_session():
    def session():
        import time

        blocking(time.sleep, 0.0005)
        with io.open(__file__, "rb") as f:
            assert f.read(10) and f.readline()
            r, w = io.pipe()
            with r, w:
                f.seek(0)
                g = go(lambda: io.copy(w, f) and w.close())
                try:
                    while r.read(1000):
                        sleep(0.0001)
                finally:
                    g.cancel()
                    with ramet.shield():
                        g.exception()

    return session, lambda: None


def net_session():
    def serve(conn):
        line = conn.readline(timeout=T)
        while line:
            sleep(0.0001)
            conn.write(line[:3])
            sleep(0.0001)
            conn.write(line[3:])
            line = conn.readline(timeout=T)
        conn.write(b"x" * 300_000)

    def handle(conn):
        try:
            serve(conn)
        except OSError:  # the session was cancelled
            pass

    server = net.serve("127.0.0.1:0", handle)

    def session():
        address = f"localhost:{server.addr[1]}"
        with net.dial("tcp", address, timeout=T) as conn:
            conn.write(b"hello\n")
            assert conn.read_until(b"o\n") == b"hello\n"
            conn.write(b"once\nmore\n")
            assert conn.readline() == b"once\n" and conn.read_exactly(5) == b"more\n"
            conn.close_write()
            r, w = io.pipe()
            with r, w:
                with Group() as group:
                    group.go(lambda: io.copy(w, conn) and w.close())
                    n = 0
                    while part := r.read(100_000):
                        n += len(part)
                    assert n == 300_000
        with net.listen("tcp", "127.0.0.1:0") as ln:
            try:
                ln.accept(0.0003)
            except TimeoutError:
                pass
        with net.listen_packet("udp", "127.0.0.1:0") as packets:
            packets.write_to(b"1", packets.addr)
            assert packets.read_from(9)[0] == b"1"
            try:
                packets.read_from(9, 0.0003)
            except TimeoutError:
                pass

    def check():
        pass

    check.end = server.close
    return session, check


def process_session():
    code = "import sys; d = sys.stdin.read(); sys.stdout.write(d.upper())"

    def session():
        done = ros.run([sys.executable, "-S", "-c", code], input=b"a" * 200_000, capture_output=True)
        assert done.stdout == b"A" * 200_000
        child = ros.Popen(["cat"], stdin=ros.PIPE, stdout=ros.PIPE)
        try:
            child.stdin.write(b"line\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"line\n"
            child.stdin.close()
            child.wait()
        finally:
            child.kill()
            with ramet.shield():
                child.wait()
            for stream in (child.stdin, child.stdout):
                stream.close()

    def check():
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    return session, check


SESSIONS = [sync_session, channel_session, structure_session, thread_session, net_session, process_session]


@pytest.mark.parametrize("by_scope", [False, True], ids=["cancel", "scope"])
@pytest.mark.parametrize("make", SESSIONS)
def test_cancelled_at_its_kth_line_leaves_nothing(make, by_scope):
    session, check = make()
    try:
        whole = Run(session, 0, by_scope, 0)  # and what is made once a process is there now
        assert whole.exception is None
        goroutines, timers, fds = ramet.num_goroutines(), ramet.stats()["timers"], descriptors()
        step = 1 if SLOW else 1 + whole.lines // 300
        told = 0
        for k in range(1, whole.lines + 10, step):
            run = Run(session, k, by_scope, k % 3)
            if by_scope:
                assert run.exception is None and run.scope.cancelled is run.told, (k, run.exception)
            else:
                assert isinstance(run.exception, GoroutineCancelled) is run.told, (k, run.exception)
            until(lambda: ramet.num_goroutines() <= goroutines, sleep=sleep)
            until(lambda: descriptors() <= fds, sleep=sleep)
            until(lambda: ramet.stats()["timers"] <= timers, sleep=sleep)
            check()
            told += run.told
        assert told > whole.lines // step // 3
    finally:
        getattr(check, "end", lambda: None)()
