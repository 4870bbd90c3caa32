"""Import locks that know goroutines; installed where goroutines are preempted.

importlib has a lock for each module that is being imported. Its owner is told by get_ident(), and who waits for it
waits in its `wakeup`, a plain lock that whoever has imported the module releases. importlib._bootstrap finds both in
its `_thread`, in whose place it is given `_ours`: all goroutines then are owners of their own, and wait without holding
up the others. importlib's own look for circles goes by get_ident(), too, and so does what it has always done: the
second in a circle goes on with a module that is half made.

A module's other lock is held for a few lines that do not wait, and where no goroutine is preempted: it stays one of
threads.
"""

import _frozen_importlib  # importlib._bootstrap
import _thread
import sys
import types
from typing import Any

from . import _core

_bootstrap: Any = _frozen_importlib


class _LockOf311:
    """3.11 makes both locks by allocate_lock(): the other one is what it uses in `with`."""

    def __init__(self) -> None:
        self._other = _thread.allocate_lock()
        wakeup = _core.Mutex()
        self.acquire, self.release = wakeup.acquire, wakeup.release

    def __enter__(self) -> bool:
        return self._other.acquire()

    def __exit__(self, *exc: object) -> None:
        self._other.release()


# as much of _thread as importlib uses
_ours: Any = types.SimpleNamespace(
    get_ident=_core._import_ident,
    allocate_lock=_core.Mutex if sys.version_info >= (3, 12) else _LockOf311,
    RLock=_thread.RLock,
)
_watching_forks = False


def _locks() -> list[Any]:
    found = [ref() for ref in list(_bootstrap._module_locks.values())]
    return [lock for lock in found if hasattr(lock, "wakeup")]


def install() -> None:
    global _watching_forks
    _bootstrap._thread = _ours
    for lock in _locks():  # of imports that are under way; a lock that threads wait for already stays as it is
        if lock.lock.acquire(False):
            if not lock.waiters:
                lock.wakeup = _core.Mutex()
            lock.lock.release()
    if not _watching_forks:
        _watching_forks = True
        _core._watch_forks(_forked)


def uninstall() -> None:
    """No goroutine runs any more."""
    if _bootstrap._thread is _ours:
        _bootstrap._thread = _thread


def _forked() -> None:
    """In the child: what others were importing nobody will finish. It is to be imported anew."""
    me = _core._import_ident()
    if _bootstrap._thread is not _ours:
        return
    for lock in _locks():
        if lock.owner is not None and lock.owner != me:
            sys.modules.pop(lock.name, None)
            lock.__init__(lock.name)


def _installed() -> list[tuple[str, str, str]]:
    """For debug.hooks()."""
    if _bootstrap._thread is not _ours:
        return []
    return [("import locks", "let a goroutine wait for what another one imports", "importlib._bootstrap._thread")]
