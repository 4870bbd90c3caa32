"""greenlet, once it is imported, refuses to switch to a greenlet of another goroutine: greenlets.c sees to that."""

import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_NAME = "greenlet._greenlet"


class _Finder:
    """Waits for the import."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> "ModuleSpec | None":
        if name != _NAME:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find and finder is not cls else None
            if spec and spec.loader:
                _guard_after(spec.loader)
                return spec
        return None


def _guard_after(loader: Any) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if module.__name__ == _NAME:
            _guard(module)

    loader.exec_module = exec_module


def _guard(module: Any) -> None:
    try:
        _core._guard_greenlets(module._C_API)
    except (AttributeError, TypeError, ValueError) as e:
        warnings.warn(
            f"ramet does not know this greenlet ({e}): to switch to another goroutine's greenlet crashes",
            RuntimeWarning,
            stacklevel=2,
        )


def install() -> None:
    if module := sys.modules.get(_NAME):
        _guard(module)
    elif _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def _installed() -> list[tuple[str, str, str]]:
    """For debug.hooks()."""
    what = "has greenlets run in the goroutine that has started them only"
    return [("greenlet finder", what, "sys.meta_path")] if _Finder in sys.meta_path else []
