"""Interpreters by the private modules that every CPython has, which alone make ones that share a GIL."""

import sys
import textwrap

try:
    import _interpreters  # type: ignore[import-not-found]
except ImportError:
    import _xxsubinterpreters as _interpreters  # type: ignore[import-not-found]

NEW = sys.version_info >= (3, 13)


class Failed(Exception):
    """What was raised inside, as text."""


class Interpreter:
    """Destroyed at the end of a `with` block, or with close()."""

    def __init__(self, own_gil: bool = True) -> None:
        self.id = (
            _interpreters.create("isolated" if own_gil else "legacy") if NEW else _interpreters.create(isolated=own_gil)
        )

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def exec(self, code: str) -> None:
        """Run code in it, in this thread. Failed."""
        code = textwrap.dedent(code)
        if not NEW:
            try:
                _interpreters.run_string(self.id, code)
            except _interpreters.RunFailedError as e:
                raise Failed(str(e)) from None
            return
        failure = _interpreters.exec(self.id, code)
        if failure:
            raise Failed(failure.formatted)

    def close(self) -> None:
        _interpreters.destroy(self.id)


def squares(n: int) -> int:
    """For InterpreterPoolExecutor."""
    import ramet

    return ramet.run(lambda: sum(ramet.gather(*[ramet.go(int, n) for _ in range(n)])))
