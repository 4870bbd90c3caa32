"""Takes one sample: starts a contestant's program on its core, and for a server the load generator on another,
and gives back the figures that it printed. Every process it starts is ended before it returns."""

import json
import os
import re
import resource
import select
import subprocess
import tempfile
import time

import environment as env
from rows import DESCRIPTORS

CORES = sorted(os.sched_getaffinity(0))


class Skipped(Exception):
    """The contestant says that it has no such thing, or cannot do it here."""


class Failed(Exception):
    """The contestant's program failed, hung, or printed what is no figure."""


def command(peer, row):
    """The command line of a contestant's program for a row, without the time."""
    if peer.program.endswith(".py"):
        start = [env.python_of(peer), env.BENCH / peer.program]
    elif peer.program == "bench_ramet":
        start = [env.c_program(row.row)]
    else:
        start = [env.BUILD / peer.program]
    return [str(s) for s in start] + [row.row, *row.args, *peer.args]


def environ():
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RAMET", "GO", "UV_", "LD_"))}
    return {**kept, "GOMAXPROCS": "1"}


def prepare(cores):
    """In the new process, before its program: its cores, and as many descriptors as it may have."""
    os.sched_setaffinity(0, cores)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def start(argv, cores, stderr):
    return subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=stderr,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=env.BUILD,
        env=environ(),
        preexec_fn=lambda: prepare(cores),
    )


def last_words(stderr):
    """What a program said last: the line of an exception if there is one, not the notes that follow it."""
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Closed)\b", line)]
    return (errors or lines or [""])[-1]


def understand(line, stderr):
    """The figures of a line, or the exception that it stands for."""
    try:
        figures = json.loads(line)
    except ValueError:
        raise Failed(last_words(stderr) or line.strip() or "printed nothing") from None
    if "skip" in figures:
        raise Skipped(figures["skip"])
    if "error" in figures:
        raise Failed(figures["error"])
    return figures


def take(peer, row, seconds, echo_seconds):
    """The figures of one sample."""
    if row.cores > len(CORES) or (row.load and len(CORES) < 2):
        raise Skipped("this process may use one CPU only")
    argv = command(peer, row)
    if not os.path.exists(argv[0]):
        raise Skipped("not built")
    if row.load:
        for name in (row.load.program, *row.load.files):
            if not (env.BUILD / name).exists():
                raise Skipped(f"{name} could not be made here")
    with tempfile.TemporaryFile() as stderr:
        if row.load:
            return take_load(argv, row, echo_seconds, stderr)
        process = start([*argv, "--time", str(seconds)], set(CORES[: row.cores]), stderr)
        try:
            out, _ = process.communicate(timeout=row.timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"did not end within {row.timeout} s") from None
        finally:
            end(process)
        return understand((out.strip().splitlines() or [""])[-1], stderr)


def take_load(argv, row, seconds, stderr):
    load, seconds = row.load, seconds * row.load.length
    server = start(argv, {CORES[0]}, stderr)
    try:
        port = understand(first_line(server, row.timeout), stderr)["port"]
        if load.twice:  # the second one counts
            generate(load, port, 0, seconds / 3, server.pid, idle=0)
        return generate(load, port, seconds / 5, seconds, server.pid, load.idle)
    except Failed as why:
        said = last_words(stderr)
        raise Failed(f"{why}; server: {said}" if said and said not in str(why) else str(why)) from None
    finally:
        end(server)


def generate(load, port, warm, seconds, pid, idle):
    argv = [env.BUILD / load.program, port, load.size, load.conns, warm, seconds, pid, idle]
    with tempfile.TemporaryFile() as stderr:
        process = start([str(a) for a in argv], {CORES[1]}, stderr)
        try:
            out, _ = process.communicate(timeout=60 + seconds)
        except subprocess.TimeoutExpired:
            raise Failed("the load generator did not end") from None
        finally:
            end(process)
        return understand((out.strip().splitlines() or [""])[-1], stderr)


def first_line(process, timeout):
    """The line in which a server names its port; the server may first have a background to set up."""
    pipe, text = process.stdout.fileno(), b""
    deadline = time.monotonic() + timeout
    while b"\n" not in text:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise Failed(f"named no port within {timeout} s")
        piece = os.read(pipe, 4096)
        if not piece:
            break
        text += piece
    return text.decode()


def end(process):
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()
