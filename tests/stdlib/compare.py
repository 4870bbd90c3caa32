"""What comes of a module's tests in a goroutine, against what comes of them without ramet."""

import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
VERSIONS = {"all", VERSION, VERSION + sys.abiflags}  # what of an entry is for this one
THE_PROCESS = "(process)"  # stands in the place of a test for how its process ended


@dataclass
class Skip:
    """An entry of skips.txt; see there."""

    versions: str
    what: str
    pattern: str
    why: str


@dataclass
class Run:
    """One process."""

    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict)
    switches: int = 0
    preemptions: int = 0
    seconds: float = 0.0
    ended: str = ""  # how, if not well
    log: str = ""


@dataclass
class Result:
    """What is told of a module."""

    module: str
    tests: int = 0  # that ran in both
    switches: int = 0
    preemptions: int = 0
    seconds: float = 0.0
    plainly: str = ""  # how the plain process ended, if not well
    differences: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)  # differences of one run of two
    not_run: list[str] = field(default_factory=list)
    log: str = ""


def modules(selection=False):
    """Those of modules.txt that this interpreter has."""
    found = []
    for line in (HERE / "modules.txt").read_text().splitlines():
        name, *marks = line.partition("#")[0].split() or [""]
        if name and (marks or not selection) and find_spec(f"test.{name}"):
            found.append(name)
    return found


def entries():
    """skips.txt, of all versions."""
    lines = (HERE / "skips.txt").read_text().splitlines()
    found = [Skip(*line.split(None, 3)) for line in lines if line.strip() and not line.startswith("#")]
    for e in found:
        if e.what not in ("differs", "not-run", "calm"):
            raise ValueError(f"skips.txt: {e.what!r} is none of differs, not-run, calm")
    return found


def skips(what):
    """The entries for this version."""
    return [e for e in entries() if e.what == what and VERSIONS.intersection(e.versions.split(","))]


def run(module, goroutine, limit):
    not_run = [e.pattern for e in skips("not-run")]
    with tempfile.TemporaryDirectory(prefix="rt", ignore_cleanup_errors=True) as folder:
        out, log, cwd = Path(folder, "out"), Path(folder, "log"), Path(folder, "cwd")
        cwd.mkdir()
        cmd = [sys.executable, "-u", "-W", "default", "-X", "faulthandler", HERE / "one.py", module, out]
        calm = any(e.pattern == f"test.{module}" for e in skips("calm"))
        cmd += ["--goroutine"] * goroutine + ["--calm"] * calm + [f"--not-run={pattern}" for pattern in not_run]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("RAMET_", "PYTEST_", "PYTHON"))}
        env["TMPDIR"] = str(cwd)
        begin = time.monotonic()
        with open(log, "wb") as f:
            p = subprocess.Popen(
                cmd,
                stdin=subprocess.DEVNULL,
                stdout=f,
                stderr=f,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
            ended = ""
            try:
                status = p.wait(limit)
            except subprocess.TimeoutExpired:
                ended = f"took more than {limit} s"
                p.send_signal(signal.SIGABRT)  # faulthandler tells where it is
                try:
                    p.wait(5)
                except subprocess.TimeoutExpired:
                    pass
            else:
                if status:
                    ended = f"died of {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            finally:
                try:
                    os.killpg(p.pid, signal.SIGKILL)  # and whatever it has left running
                except ProcessLookupError:
                    pass
                p.wait()
        result = Run(seconds=time.monotonic() - begin, log=log.read_text(errors="replace"))
        at = read(out, result) if out.exists() else ""
        result.ended = ended and (f"{ended} in {at}" if at else ended)
        return result


def read(out, result):
    """The test that did not end, if any."""
    seen, at = Counter(), ""
    for line in out.read_text().splitlines():
        kind, *rest = json.loads(line)
        if kind == "begin":
            at = rest[0]
        elif kind == "switches":
            result.switches, result.preemptions = rest
        else:
            name, outcome, why = rest
            seen[name] += 1
            result.outcomes[f"{name} #{seen[name]}" if seen[name] > 1 else name] = (outcome, why)
            at = ""
    return at


def differences(plain, goroutine):
    """For each test that differs, how."""
    if plain.ended != goroutine.ended:
        yield THE_PROCESS, f"plainly: {plain.ended or 'ends'}; in a goroutine: {goroutine.ended or 'ends'}"
    both_ended = not plain.ended and not goroutine.ended
    for test in plain.outcomes | goroutine.outcomes:
        a, b = plain.outcomes.get(test), goroutine.outcomes.get(test)
        if a is None or b is None:
            if both_ended:
                yield test, f"runs only {'in a goroutine' if a is None else 'plainly'}"
        elif a[0] != b[0]:
            yield test, f"plainly: {told(a)}; in a goroutine: {told(b)}"


def told(outcome):
    return f"{outcome[0]} ({' '.join(outcome[1].split())[:200]})" if outcome[1] else outcome[0]


def compare(module, limit=300):
    """Runs it both ways, and both ways again if that shows a difference: one that does not come again is unsteady."""
    plain, goroutine = run(module, False, limit), run(module, True, limit)
    known = skips("differs")
    found = dict(differences(plain, goroutine))
    result = Result(module, seconds=plain.seconds + goroutine.seconds, plainly=plain.ended)
    result.switches, result.preemptions = goroutine.switches, goroutine.preemptions
    result.tests = sum(o[0] != "skipped" for t, o in goroutine.outcomes.items() if t in plain.outcomes)
    result.not_run = [t for t, o in goroutine.outcomes.items() if o[1] == "in skips.txt"]
    for test in list(found):
        full = f"test.{module}" if test == THE_PROCESS else test
        why = next((e.why for e in known if fnmatch.fnmatchcase(full, e.pattern)), None)
        if why:
            result.explained.append(f"{test}: {found.pop(test)}: {why}")
    if found:
        again = dict(differences(run(module, False, limit), run(module, True, limit)))
        for test, how in found.items():
            kind = result.differences if test in again or "died of" in how else result.unsteady
            kind.append(f"{test}: {how}")
        result.log = goroutine.log
    return result
