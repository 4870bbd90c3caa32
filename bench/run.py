#!/usr/bin/env python3
"""Runs ramet and every peer that is found on the same work in the same run, and reports.

    bench/run.py [--quick] [--runs N] [--only REGEX] [--who REGEX] [--face python|c] [--list]

Samples are interleaved: every contestant of a row has its first sample before any has its second, beginning
with another one each time. Each sample is a process of its own, pinned to one core.
README.md says what each row does.
"""

import argparse
import os
import re
import statistics
import sys
import time

import environment as env
import report
import rows as r
from sample import Failed, Skipped, take


def arguments(argv):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--runs", type=int, help="samples of each contestant in each row (7; --quick: 3)")
    p.add_argument("--quick", action="store_true", help="3 short samples: a try, no measurement")
    p.add_argument("--only", default="", metavar="REGEX", help="only the rows whose name matches")
    p.add_argument("--who", default="", metavar="REGEX", help="only the contestants whose name matches")
    p.add_argument("--face", choices=r.FACES, help="only this face")
    p.add_argument("--python", help="interpreter for the benchmarks' environment (default: that of .venv)")
    p.add_argument("--no-setup", action="store_true", help="take what is installed and built already")
    p.add_argument("--out", default=str(env.BUILD), help="folder of results.json and the drawings")
    p.add_argument("--list", action="store_true", help="list rows and contestants, and end")
    o = p.parse_args(argv)
    o.runs = (3 if o.quick else 7) if o.runs is None else o.runs
    if o.runs < 1:
        p.error("--runs must be at least 1")
    o.faces = (o.face,) if o.face else r.FACES
    o.seconds, o.echo_seconds = (0.05, 0.3) if o.quick else (0.3, 1.0)
    return o


def chosen_rows(o):
    for row in r.ROWS:
        if o.only and not re.search(o.only, row.name):
            continue
        if row.heavy and o.quick and not o.only:
            continue
        yield row


def jobs_of(o, row, face, here):
    """(row, peer) for every contestant of a row that is here and wanted."""
    for peer in r.PEERS:
        if peer.face == face and peer.takes(row) and peer.needs in here:
            if re.search(o.who, peer.name) and (not row.who or re.search(row.who, peer.name)):
                yield row, peer


def batches(o, face, here):
    """Lists of jobs that are interleaved with one another: a row, or the rows that go together."""
    together = {}
    for row in chosen_rows(o):
        if face in row.faces:
            together.setdefault(row.together or row.name, []).extend(jobs_of(o, row, face, here))
    return {name: jobs for name, jobs in together.items() if jobs}


def available():
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


class Run:
    """All samples of one run, and why those are missing that are."""

    def __init__(self, o, here):
        self.o, self.here = o, here
        self.samples = {}  # (face, bench, who) -> [value]
        self.units = {}
        self.missing = {}  # (face, row name, who) -> why
        self.failures = {}

    def measure(self):
        for face in self.o.faces:
            for name, jobs in batches(self.o, face, self.here).items():
                began = time.monotonic()
                self.interleave(face, jobs)
                self.progress(face, name, jobs, time.monotonic() - began)

    def interleave(self, face, jobs):
        runs = min(self.o.runs, min((row.runs or self.o.runs for row, _ in jobs), default=0))
        for turn in range(runs):
            first = turn % len(jobs)
            for row, peer in jobs[first:] + jobs[:first]:
                self.one(face, row, peer)

    def one(self, face, row, peer):
        key = face, row.name, peer.name
        if key in self.missing:
            return
        if row.memory > available():
            self.missing[key] = f"needs {row.memory >> 30} GiB of free memory"
            return
        try:
            figures = take(peer, row, self.o.seconds, self.o.echo_seconds)
        except Skipped as why:
            self.missing[key] = str(why)
            return
        except Failed as why:
            self.failures[key] = self.failures.get(key, 0) + 1
            env.say(f"bench: {peer.name}, {row.name}: {why}")
            if self.failures[key] > 1:
                self.missing[key] = f"failed: {why}"
            return
        for figure in row.figures:
            if figure.key in figures:
                value = figures[figure.key] * figure.scale
                self.samples.setdefault((face, figure.bench, peer.name), []).append(value)
                self.units[figure.bench] = figure.unit

    def progress(self, face, name, jobs, seconds):
        parts = []
        for row, peer in jobs:
            figure = row.figures[0]
            values = self.samples.get((face, figure.bench, peer.name))
            label = figure.bench.split(" beside ")[-1] if row.together else peer.name
            parts.append(f"{label} {report.show(statistics.median(values), figure.unit) if values else '-'}")
        env.say(f"[{report.FACES[face]}] {name}: {', '.join(parts)}  ({seconds:.0f} s)")

    def results(self):
        """results.json's list."""
        versions = {(p.face, p.name): self.here.get(p.needs, "") for p in r.PEERS}
        return [
            {
                "bench": bench,
                "face": face,
                "unit": self.units[bench],
                "who": who,
                "version": versions[face, who],
                "median": statistics.median(values),
                "min": min(values),
                "max": max(values),
                "runs": len(values),
            }
            for (face, bench, who), values in self.samples.items()
        ]


def show_list(o):
    for face in o.faces:
        print(f"{report.FACES[face]} face: " + ", ".join(p.name for p in r.PEERS if p.face == face))
        for row in chosen_rows(o):
            if face in row.faces:
                print(f"  {row.name}")


def main(argv=None):
    o = arguments(argv)
    if o.list:
        return show_list(o)
    here, facts = env.set_up(o.python, o.faces, install=not o.no_setup)
    facts["load before"] = " ".join(f"{x:.2f}" for x in os.getloadavg())
    run = Run(o, here)
    began = time.monotonic()
    try:
        run.measure()
    except KeyboardInterrupt:
        env.say("bench: interrupted; this is what there is")
    minutes = (time.monotonic() - began) / 60
    facts["run"] = f"{o.runs} samples of {o.seconds} s (echo {o.echo_seconds} s) each, {minutes:.1f} minutes, "
    facts["run"] += time.strftime("%Y-%m-%d %H:%M")
    report.write(o.out, run.results(), run.missing, facts, here, quick=o.quick)
    return 0 if run.samples else 1


if __name__ == "__main__":
    sys.exit(main())
