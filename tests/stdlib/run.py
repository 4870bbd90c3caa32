"""The interpreter's own tests in a goroutine: what differs from a plain run.

    run.py [--jobs N] [--out FILE] [--selection] [MODULE...]

Without modules: those of modules.txt. FILE gets it all as JSON, for report.py; with modules, what it has of others stays. The exit status is 0 if all differences that
come again are in skips.txt.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import compare

VERSION = sys.version.split()[0] + ("t" if "t" in sys.abiflags else "")


def show(r):
    print(
        f"{r.module:32} {r.tests:5} tests {r.switches:8} switches {r.preemptions:6} preemptions {r.seconds:6.1f} s",
        flush=True,
    )
    if r.plainly:
        print(f"    plainly, too: {r.plainly}", flush=True)
    for title, lines in ("DIFFERS", r.differences), ("explained", r.explained), ("unsteady", r.unsteady):
        for line in lines:
            print(f"    {title}: {line}", flush=True)
    if any("died of" in line or "took more" in line for line in r.differences):
        print("\n".join(f"    | {line}" for line in r.log.splitlines()[-40:]), flush=True)


def store(path, results, add):
    rows = {m["module"]: m for m in json.loads(path.read_text())["modules"]} if add and path.exists() else {}
    for r in results:
        rows[r.module] = {k: v for k, v in asdict(r).items() if k != "log"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": VERSION, "modules": list(rows.values())}, indent=1) + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--jobs", type=int, default=min(len(os.sched_getaffinity(0)), 4))
    ap.add_argument("--out", type=Path)
    ap.add_argument("--selection", action="store_true", help="only the modules that `make test` runs")
    ap.add_argument("modules", nargs="*", metavar="MODULE")
    args = ap.parse_args()
    names = args.modules or compare.modules(args.selection)
    if not names:
        print("this CPython comes without its tests")
        return 0
    begin, results = time.monotonic(), []
    with ThreadPoolExecutor(args.jobs) as pool:
        for done in as_completed([pool.submit(compare.compare, name) for name in names]):
            results.append(done.result())
            show(results[-1])
            if args.out:
                store(args.out, results, add=bool(args.modules))
    results.sort(key=lambda r: r.module)
    tests, switches, preemptions = (sum(getattr(r, k) for r in results) for k in ("tests", "switches", "preemptions"))
    counts = {k: sum(len(getattr(r, k)) for r in results) for k in ("differences", "explained", "unsteady", "not_run")}
    print(
        f"\nCPython {VERSION}: {len(results)} modules, {tests} tests, {switches} switches and {preemptions} preemptions in the midst of"
        f" them, {counts['not_run']} not run; differences: {counts['differences']} unexplained, {counts['explained']} explained,"
        f" {counts['unsteady']} of one run of two; {time.monotonic() - begin:.0f} s"
    )
    return 1 if counts["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
