"""A tour of ramet in a terminal: eight short scenes, each explained, shown and run.

    python -m ramet.tour            all of them
    python -m ramet.tour 3 5        these
    python -m ramet.tour --list     what they are called

The exit status is 0 if every scene did what it says.
"""

import argparse
import contextlib
import inspect
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import TextIO

import ramet
from ramet import sync, time

__all__ = ["main"]

LIMIT = 10  # seconds for a scene


# ---- the scenes: what is shown is what runs ------------------------------------------------------


def _goroutines() -> None:
    def say(word: str) -> str:
        for _ in range(3):
            time.sleep(0.02)
            print(word)
        return word.upper()

    hello = ramet.go(say, "hello")
    world = ramet.go(say, "world")
    print(hello.join(), world.join())


def _channels() -> None:
    squares = ramet.Chan[int]()

    def produce() -> None:
        for n in range(1, 5):
            squares.send(n * n)
        squares.close()

    ramet.go(produce)
    for square in squares:
        print(square)
    print(squares.recv_ok())


def _buffered() -> None:
    box = ramet.Chan[str](2)
    box.send("a letter")
    box.send("a parcel")
    print(f"{len(box)} of {box.capacity} places taken, one more fits: {box.try_send('a piano')}")
    print(box.recv())
    print(box.recv())


def _select() -> None:
    fast, slow = ramet.Chan[str](), ramet.Chan[str]()

    def later(seconds: float, chan: ramet.Chan[str], word: str) -> None:
        time.sleep(seconds)
        chan.send(word)

    ramet.go(later, 0.02, fast, "the hare")
    tortoise = ramet.go(later, 60, slow, "the tortoise")
    print(ramet.select(fast, slow).value)
    try:
        ramet.select(fast, slow, timeout=0.1)
    except TimeoutError:
        print("nobody else for a tenth of a second")
    tortoise.cancel()


def _mutex() -> None:
    def count(guard: contextlib.AbstractContextManager[object]) -> int:
        total = 0

        def add() -> None:
            nonlocal total
            with guard:
                seen = total
                ramet.gosched()  # the others run here
                total = seen + 1

        ramet.gather(*[ramet.go(add) for _ in range(100)])
        return total

    print("without a mutex:", count(contextlib.nullcontext()))
    print("with a mutex:", count(sync.Mutex()))


def _queue() -> None:
    jobs: sync.Queue[int] = sync.Queue(maxsize=3)
    done = []

    def consume() -> None:
        with contextlib.suppress(sync.ShutDown):
            while True:
                done.append(jobs.get())
                time.sleep(0.005)
                jobs.task_done()

    consumers = [ramet.go(consume) for _ in range(3)]
    for n in range(12):
        jobs.put(n)  # waits while the queue is full
    jobs.join()
    jobs.shutdown()
    ramet.gather(*consumers)
    print("done:", *sorted(done))


def _group() -> None:
    def fetch(page: int) -> None:
        try:
            time.sleep(0.02 * page)
            if page == 2:
                raise OSError(f"page {page}: connection lost")
            print(f"page {page} is here")
        except ramet.Cancelled:
            print(f"page {page} is not needed any more")
            raise

    try:
        with ramet.Group() as g:
            for page in (1, 2, 100):
                g.go(fetch, page)
    except* OSError as group:
        print("failed:", *group.exceptions)


def _timers() -> None:
    ticker = time.Ticker(0.03)
    alarm = time.Timer(0.2)
    ticks = 0
    while ramet.select(ticker.c, alarm.c).chan is ticker.c:
        ticks += 1
        if ticks <= 3:
            print("tick", ticks)
    ticker.stop()
    print("the alarm rings")
    print("stopped in time:", time.Timer(60).stop())


class _Scene:
    def __init__(self, title: str, text: str, body: Callable[[], None], good: Callable[[list[str]], bool]) -> None:
        self.title = title
        self.text = text
        self.body = body
        self.good = good  # of the lines that it printed


_SCENES = [
    _Scene(
        "Goroutines",
        "go() starts a function beside its caller; a goroutine that sleeps holds up nobody. join() waits for its\n"
        "end and gives back its result. A goroutine costs one page of memory: a million of them are fine.",
        _goroutines,
        lambda out: sorted(out[:-1]) == ["hello"] * 3 + ["world"] * 3 and out[-1] == "HELLO WORLD",
    ),
    _Scene(
        "Channels",
        "A channel hands a value from one goroutine to another: send() waits until somebody receives. Iteration ends\n"
        "when the channel is closed; recv_ok() tells a value from the end.",
        _channels,
        lambda out: out == ["1", "4", "9", "16", "(None, False)"],
    ),
    _Scene(
        "Buffered channels",
        "With a capacity, send() waits only while the buffer is full, so one goroutine alone can fill and empty it.\n"
        "try_send() never waits: it tells whether it could.",
        _buffered,
        lambda out: out == ["2 of 2 places taken, one more fits: False", "a letter", "a parcel"],
    ),
    _Scene(
        "Select, with a timeout",
        "select() waits for several channels at once, and for no longer than its timeout. What nobody needs any\n"
        "more is cancelled, wherever it waits.",
        _select,
        lambda out: out == ["the hare", "nobody else for a tenth of a second"],
    ),
    _Scene(
        "A race, and a mutex",
        "Goroutines take turns wherever they call into ramet. Whoever reads, lets others run, and then writes, loses\n"
        "what they wrote; a mutex around the three makes them one.",
        _mutex,
        lambda out: out[0] != "without a mutex: 100" and out[1:] == ["with a mutex: 100"],
    ),
    _Scene(
        "Producer and consumers",
        "The standard library's queue, for goroutines (and threads): put() waits while it is full, join() until\n"
        "every job was reported done. shutdown() sends the consumers home.",
        _queue,
        lambda out: out == ["done: 0 1 2 3 4 5 6 7 8 9 10 11"],
    ),
    _Scene(
        "A group, and a failure",
        "A Group's block is left only when all of its goroutines have ended. The first failure cancels the others;\n"
        "what went wrong comes out as an ExceptionGroup.",
        _group,
        lambda out: out == ["page 1 is here", "page 100 is not needed any more", "failed: page 2: connection lost"],
    ),
    _Scene(
        "Timer and Ticker",
        "A timer sends once, a ticker again and again, both on a channel: so select() listens to them beside\n"
        "anything else. After stop() nothing stale comes.",
        _timers,
        lambda out: out[-2:] == ["the alarm rings", "stopped in time: True"],
    ),
]


# ---- showing and running -------------------------------------------------------------------------


class _Indented(io.TextIOBase):
    """A stdout that indents what a scene prints, and remembers it."""

    def __init__(self, out: TextIO, colour: Callable[[str, str], str]) -> None:
        self.out = out
        self.colour = colour
        self.text = ""

    def write(self, text: str) -> int:
        for piece in text.splitlines(keepends=True):
            start = "" if self.text and not self.text.endswith("\n") else self.colour("32", "  | ")
            self.out.write(start + piece)
            self.text += piece
        self.out.flush()
        return len(text)


def _code(body: Callable[[], None]) -> str:
    """What is below a scene's `def`."""
    source = inspect.getsource(body).partition("\n")[2]
    return textwrap.indent(textwrap.dedent(source).strip(), "    ")


def _play(number: int, scene: _Scene, out: TextIO, colour: Callable[[str, str], str]) -> bool:
    print(colour("1", f"{number}. {scene.title}"), file=out)
    print(scene.text, end="\n\n", file=out)
    print(colour("36", _code(scene.body)), end="\n\n", file=out)
    printed = _Indented(out, colour)
    good = True
    try:
        with contextlib.redirect_stdout(printed), ramet.timeout(LIMIT):
            ramet.run(scene.body)
    except Exception:
        traceback.print_exc(file=out)
        good = False
    if good and not scene.good(printed.text.splitlines()):
        print("This is not what it should have printed.", file=out)
        good = False
    print(file=out)
    return good


def _number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= len(_SCENES):
        raise argparse.ArgumentTypeError(f"there are the scenes 1 to {len(_SCENES)}")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Show the scenes that the arguments ask for. 0 if all went well."""
    parser = argparse.ArgumentParser(
        prog="python -m ramet.tour", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="only list the scenes")
    parser.add_argument("scene", nargs="*", type=_number, metavar="SCENE", help="numbers; none: all")
    args = parser.parse_args(argv)
    if args.list:
        for number, scene in enumerate(_SCENES, 1):
            print(f"{number}. {scene.title}")
        return 0

    out = sys.stdout
    colours = out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def colour(code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colours else text

    numbers = args.scene or range(1, len(_SCENES) + 1)
    failed = [number for number in numbers if not _play(number, _SCENES[number - 1], out, colour)]
    if failed:
        print(f"went wrong: {', '.join(f'{n}. {_SCENES[n - 1].title}' for n in failed)}", file=out)
        return 1
    print("More: README.md, and the programs in examples/. In the code above, sync and time are ramet's.", file=out)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `python -m ramet.tour | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
