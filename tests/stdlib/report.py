"""docs/cpython.md from what run.py found on each version.

report.py PAGE FILE...
"""

import json
import sys
from pathlib import Path

import compare

HEAD = """\
# CPython's own tests

A goroutine runs Python on a stack and a thread state of its own making. Whether all of the interpreter still works there, its own
tests tell: `make test-cpython` runs each of these modules twice, plainly, and in a goroutine of default stack size with two
busy goroutines beside it, and compares the outcomes test by test. The tests' goroutine gives way to the busy ones between tests and in the
midst of them, from collections and audit events, and is preempted every millisecond; the busy ones hold exceptions, generators, context variables
and deep calls. A test that fails plainly, too (it wants a network, say), is no difference.

"""

DIFFERENCES = """
## Known differences

What `tests/stdlib/skips.txt` lists: tests whose outcome differs, tests that are not run, and modules that run without preemption (calm).

"""

MODULES = """
## Module by module

The tests of each version that ran; in brackets how many of them are known to differ.

"""


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def total(run, key):
    found = [m.get(key, 0) for m in run["modules"]]
    return sum(len(f) if isinstance(f, list) else f for f in found)


def totals(runs):
    for run in runs:
        yield (
            run["version"],
            len(run["modules"]),
            f"{total(run, 'tests'):,}",
            f"{total(run, 'switches'):,}",
            f"{total(run, 'preemptions'):,}",
            total(run, "differences"),
            total(run, "explained"),
            total(run, "not_run"),
        )


def by_module(runs):
    found = [{m["module"]: m for m in run["modules"]} for run in runs]
    for name in sorted(set().union(*found)):
        cells = []
        for modules in found:
            m = modules.get(name)
            known = f" ({len(m['explained'])})" if m and m["explained"] else ""
            cells.append(f"{m['tests']}{known}" if m else "")
        yield (f"`{name}`", *cells)


def main(page, *files):
    runs = [json.loads(Path(f).read_text()) for f in files]
    runs.sort(key=lambda run: [int(n) for n in run["version"].split(".")[:2]])
    head = (
        "CPython",
        "modules",
        "tests",
        "switches",
        "preemptions",
        "unexplained differences",
        "known ones",
        "not run",
    )
    known = [
        (e.versions.replace(",", ", "), f"`{e.pattern}`", e.what.replace("-", " "), e.why) for e in compare.entries()
    ]
    Path(page).write_text(
        HEAD
        + table(head, totals(runs))
        + DIFFERENCES
        + table(("CPython", "tests", "", "why"), known)
        + MODULES
        + table(("module", *(run["version"] for run in runs)), by_module(runs))
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
