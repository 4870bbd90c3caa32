"""Goroutines together: Group, gather, wait, as_completed, Executor."""

import concurrent.futures as _futures
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from . import _core
from .sync import Future, Semaphore, WaitGroup

_T = TypeVar("_T")
_Task = Any  # a Goroutine or a concurrent.futures.Future

FIRST_COMPLETED = _futures.FIRST_COMPLETED
FIRST_EXCEPTION = _futures.FIRST_EXCEPTION
ALL_COMPLETED = _futures.ALL_COMPLETED


class _Members:
    """Goroutines that are waited for, at most `limit` of which are let in at once. Those of one process: see _here."""

    def __init__(self, limit: int | None) -> None:
        self.slots = Semaphore(limit) if limit is not None else None
        self.all = WaitGroup()

    def ended(self) -> None:
        if self.slots is not None:
            self.slots.release()
        self.all.done()


def _here(members: dict[int, _Members], limit: int | None) -> _Members:
    """Of these, by process, this one's. A forked child has none of its parent's, nor would it learn of their end."""
    pid = _core._pid()
    return members.get(pid) or members.setdefault(pid, _Members(limit))


class Group:
    """Structured concurrency: the block is left when all goroutines started in it have ended.

        with ramet.Group() as group:
            for url in urls:
                group.go(fetch, url)

    The first failure cancels the rest, the block itself included. Failures, the block's own among them, are always
    raised as an ExceptionGroup. `limit` bounds how many run at once: go() then waits.
    """

    name: str | None = None
    _state = "has not been entered"

    def __init__(self, limit: int | None = None, *, name: str | None = None) -> None:
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
            raise TypeError(f"Group: limit must be an int or None, not {type(limit).__name__}")
        if limit is not None and limit < 1:
            raise ValueError(f"Group: limit must be at least 1, not {limit}")
        self.name = name
        self._limit = limit
        self._scope = _core.cancel_scope()
        self._members = {_core._pid(): _Members(limit)}
        self._failures: list[BaseException] = []

    def __repr__(self) -> str:
        return f"<ramet.Group {self.name or hex(id(self))}: {self._state or 'open'}>"

    def __enter__(self) -> "Group":
        """Open it; once. Goroutines and the main thread."""
        self._scope.__enter__()
        self._state = ""
        return self

    def go(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "_core.Goroutine":
        """Start fn(*args, **kwargs) as a member. May park where there is a limit. Goroutines and the main thread."""
        if not callable(fn):
            raise TypeError(f"Group.go: fn must be callable, not {type(fn).__name__}")
        if self._state:
            raise RuntimeError(f"Group.go: the group {self._state}")
        members = _here(self._members, self._limit)
        if members.slots is not None:
            members.slots.acquire()
        members.all.add(1)
        try:
            return _core._go_then(members.ended, self._member, fn, args, kwargs)
        except BaseException:
            members.ended()
            raise

    def map(self, fn: Callable[[Any], _T], iterable: Iterable[Any]) -> list[_T]:
        """fn of every item, each in a member: the results, in order. May park. Goroutines and the main thread."""
        return [g.result() for g in [self.go(fn, item) for item in iterable]]

    def cancel(self) -> None:
        """Cancel the members and the block. Never parks. Goroutines and the main thread."""
        self._scope.cancel()

    def _wait_whatever_comes(self, exc: BaseException) -> BaseException:
        waiting = True
        with _core.shield():
            while waiting:
                try:
                    _here(self._members, self._limit).all.wait()
                    waiting = False
                except BaseException as e:  # an interrupt of main's
                    exc = self._graver(exc, e)
        return exc

    @staticmethod
    def _graver(a: BaseException | None, b: BaseException) -> BaseException:
        """Of two that the block ends with, the one that must not be lost."""
        return b if a is None or (isinstance(a, _core.Cancelled) and not isinstance(b, _core.Cancelled)) else a

    def _member(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            with _core._child_scope(self._scope):
                try:
                    return fn(*args, **kwargs)
                except _core.GoroutineCancelled:
                    _core.gosched()  # as in __exit__
                    raise
        except _core.Cancelled:
            raise
        except BaseException as e:
            if isinstance(e, Exception):
                self._failures.append(e)
                _core._collected()
            self._scope.cancel()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Wait for the members, cancelling them if the block failed; raise what failed. May park."""
        if isinstance(exc, _core.GoroutineCancelled):
            try:
                _core.gosched()  # who joined a cancelled member may be cancelled like it, and not have been told yet
            except BaseException as e:
                exc = e
        if exc is not None:
            self._scope.cancel()
        try:
            _here(self._members, self._limit).all.wait()
        except BaseException as e:  # cancelled, by the scope or from outside: now all are to end, and are waited for
            exc = self._graver(exc, e)
            self._scope.cancel()
            exc = self._wait_whatever_comes(exc)
        self._state = "has ended"
        swallowed = self._scope.__exit__(type(exc) if exc else None, exc, exc.__traceback__ if exc else None)
        failures = self._failures
        self._failures = []
        if failures and not swallowed and isinstance(exc, _core.Cancelled):
            if hasattr(exc, "_direct"):  # a cancel(), which raises once; a scope does at every wait
                _core.current().cancel(*exc.args[:1])
            exc = None  # what failed is to reach who handles failures, not to hide behind a BaseException
        if exc is not None and not swallowed and exc not in failures:
            if not failures and not isinstance(exc, Exception):
                raise exc  # Cancelled, KeyboardInterrupt, ...: of the block alone
            failures.insert(0, exc)
        if failures:
            raise BaseExceptionGroup(f"in {self.name or 'a Group'}", failures) from None
        return swallowed


class _Done:
    """Tells of tasks in the order in which they are done."""

    def __init__(self, tasks: list[_Task]) -> None:
        self._chan: _core.Chan[_Task] = _core.Chan(len(tasks))
        self._watchers = []
        for task in tasks:
            if isinstance(task, _core.Goroutine):
                self._watchers.append(_core.go(self._watch, task))
            elif isinstance(task, _futures.Future):
                task.add_done_callback(self._tell)
            else:
                raise TypeError(f"a Goroutine or a Future is needed, not {type(task).__name__}")

    def _watch(self, task: "_core.Goroutine") -> None:
        _core.select(task.if_done())
        self._tell(task)

    def _tell(self, task: _Task) -> None:
        with suppress(_core.ChanClosed):  # nobody waits any more
            self._chan.try_send(task)

    def next(self, timeout: float | None = None) -> _Task:
        return self._chan.recv(timeout)

    def close(self) -> None:
        if not self._chan.closed:
            self._chan.close()
        for g in self._watchers:
            g.cancel()


def _unique(tasks: Iterable[_Task], what: str) -> list[_Task]:
    if isinstance(tasks, (_core.Goroutine, _futures.Future)):
        raise TypeError(f"{what} takes an iterable of goroutines and futures, not one {type(tasks).__name__}")
    seen: dict[int, _Task] = {id(t): t for t in tasks}
    for t in seen.values():
        if not isinstance(t, (_core.Goroutine, _futures.Future)):
            raise TypeError(f"{what}: a Goroutine or a Future is needed, not {type(t).__name__}")
    return list(seen.values())


def gather(*gs: _Task, return_exceptions: bool = False) -> list[Any]:
    """Wait for all of the goroutines and futures: their results, in order.

    The first that fails: its exception is raised at once, and the others go on; with return_exceptions, exceptions
    stand among the results. Cancelled while it waits, it cancels them all. May park. Any thread.
    """
    tasks = _unique(gs, "gather")
    try:
        done = _Done(tasks)  # asked only when it is done, another library's future does not block the thread
        try:
            for _ in tasks:
                exc = _failure(done.next())
                if exc is not None and not return_exceptions:
                    raise exc
        finally:
            done.close()
        return [_failure(g) or g.result() for g in gs]
    except _core.Cancelled:
        for g in tasks:
            g.cancel()
        raise


def _failure(task: _Task) -> BaseException | None:
    try:
        return task.exception()  # type: ignore[no-any-return]
    except _futures.CancelledError as e:
        return e


def wait(
    gs: Iterable[_Task], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> tuple[set[_Task], set[_Task]]:
    """Wait for goroutines and futures: (done, pending). Their failures are not collected. May park. Any thread."""
    if return_when not in (FIRST_COMPLETED, FIRST_EXCEPTION, ALL_COMPLETED):
        raise ValueError(f"wait: return_when must be one of the three constants, not {return_when!r}")
    tasks = _unique(gs, "wait")
    pending = set(tasks)
    done: set[_Task] = set()
    order = _Done(tasks)
    end = None if timeout is None else monotonic() + timeout
    try:
        while pending:
            task = order.next(None if end is None else max(0.0, end - monotonic()))
            pending.discard(task)
            done.add(task)
            if return_when == FIRST_COMPLETED:
                break
            if return_when == FIRST_EXCEPTION and not _went_well(task):
                break
    except TimeoutError:
        pass
    finally:
        order.close()
    for task in list(pending):  # what has ended in the same moment
        if task.done():
            pending.discard(task)
            done.add(task)
    return done, pending


def _went_well(task: _Task) -> bool:
    if task.cancelled():
        return True
    return not task._raised() if isinstance(task, _core.Goroutine) else task.exception() is None


def as_completed(gs: Iterable[_Task], timeout: float | None = None) -> Iterator[_Task]:
    """The goroutines and futures, each as it is done; TimeoutError. May park. Any thread."""
    tasks = _unique(gs, "as_completed")
    end = None if timeout is None else monotonic() + timeout

    def each() -> Iterator[_Task]:
        order, pid = _Done(tasks), _core._pid()
        left = {id(t): t for t in tasks}
        try:
            while left:
                task = order.next(None if end is None else max(0.0, end - monotonic()))
                del left[id(task)]
                yield task
                if pid != _core._pid():  # a forked child: who was to tell of the others is not there
                    order, pid = _Done(list(left.values())), _core._pid()
        finally:
            order.close()

    return each()


class Executor(_futures.Executor):
    """concurrent.futures.Executor whose calls run in goroutines, at most max_workers at once (None: no limit)."""

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._limit = max_workers
        self._members = {_core._pid(): _Members(max_workers)}
        self._calls: dict[Future[Any], list[_core.Goroutine]] = {}  # that have not ended, and who is at it
        self._down = False
        _watch_forks()
        _executors.add(self)

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Start fn(*args, **kwargs) in a goroutine, once a worker is free: its Future. Never parks. Any thread."""
        future: Future[_T] = Future()
        members = _here(self._members, self._limit)
        self._calls[future] = by = []
        members.all.add(1)
        try:
            if self._down:  # asked last: shutdown() finds what was in before it
                raise RuntimeError("cannot schedule new futures after shutdown")
            ended = partial(self._ended, members, future)
            by.append(_core._go_then(ended, self._call, members.slots, future, fn, args, kwargs))
        except BaseException:
            self._ended(members, future)
            raise
        return future

    def _call(
        self,
        slots: Semaphore | None,
        future: Future[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        if slots is not None:
            slots.acquire()
        try:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except Exception as e:
                future.set_exception(e)
            except BaseException as e:  # Cancelled, KeyboardInterrupt, ...: the future's exception is an ordinary one
                future.set_exception(_futures.CancelledError(*e.args))
                raise
            else:
                future.set_result(result)
        finally:
            if slots is not None:
                slots.release()

    def _ended(self, members: _Members, future: Future[Any]) -> None:
        self._calls.pop(future, None)
        if not future.done():  # its goroutine was cancelled before it began
            future.cancel()
            future.set_running_or_notify_cancel()
        members.all.done()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more calls; cancel_futures: nor those that have not begun. May park if it waits. Any thread."""
        self._down = True
        if cancel_futures:
            for future in list(self._calls):
                future.cancel()
        if wait:
            _here(self._members, self._limit).all.wait()

    def _left_behind(self) -> None:
        for future, by in list(self._calls.items()):
            if by and by[0].done():  # not who forks
                del self._calls[future]
                future._left_behind()


_executors: WeakSet[Executor] = WeakSet()
_watching_forks = _core._subinterpreter  # which cannot fork


def _watch_forks() -> None:
    """Not at import, which changes nothing."""
    global _watching_forks
    if not _watching_forks:
        _watching_forks = True
        _core._watch_forks(_forked)


def _forked() -> None:
    """In the child: those who were at the executors' calls are in the parent."""
    for executor in list(_executors):
        executor._left_behind()
