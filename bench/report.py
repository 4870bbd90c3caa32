"""Turns samples into what is read: tables of medians and of ratios, the goals and how they came out,
results.json, report.txt and the drawings."""

import json
from pathlib import Path

import goals
import rows as r
import svg

DASH = "-"
FACES = {r.PYTHON: "Python", r.C: "C", r.VERSIONS: "versions"}
FACE_TITLES = {
    r.PYTHON: "Python face: ramet and its peers on one interpreter, and Go doing the same in Go",
    r.C: "C face: libramet and its peers",
    r.VERSIONS: "Versions: ramet for Python on each interpreter that was found, and Go",
}


def show(value, unit):
    """A value with three significant digits, in the unit that reads best."""
    if unit == "ns" and value >= 1e3:
        value, unit = value / 1e3, "us"
    if unit == "us" and value >= 1e3:
        value, unit = value / 1e3, "ms"
    if unit == "1/s":
        return f"{value:,.0f}"
    if unit == "B":
        return f"{value:,.0f} B"
    return f"{value:,.3g} {unit}"


def table(header, lines):
    """Text columns, the first flush left and the rest flush right."""
    widths = [max(len(str(line[i])) for line in [header, *lines]) for i in range(len(header))]

    def draw(line):
        first, *rest = (str(c) for c in line)
        return "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip()

    return "\n".join([draw(header), "  ".join("-" * w for w in widths), *map(draw, lines)])


class Report:
    """The tables of one run."""

    def __init__(self, results, missing, facts, versions):
        self.results, self.missing, self.facts, self.versions = results, missing, facts, versions
        self.by = {(x["face"], x["bench"], x["who"]): x for x in results}

    def figures(self, face, group=None):
        """The figures that a face has results for, in the order of the rows."""
        found = {x["bench"] for x in self.results if x["face"] == face}
        for row in r.ROWS:
            if face in row.faces and (row.group != "scale" if group is None else row.group == group):
                yield from (f for f in row.figures if f.bench in found)

    def contestants(self, face, figures):
        benches = {f.bench for f in figures}
        found = {x["who"] for x in self.results if x["face"] == face and x["bench"] in benches}
        return [p.name for p in r.PEERS if p.face == face and p.name in found]

    def median(self, face, bench, who):
        found = self.by.get((face, bench, who))
        return found["median"] if found else None

    def cell(self, face, figure, who):
        value = self.median(face, figure.bench, who)
        return DASH if value is None else show(value, figure.unit)

    # ---- the parts ----

    def head(self):
        width = max(map(len, self.facts))
        lines = [f"{k.ljust(width)}  {v}" for k, v in self.facts.items()]
        names = {}
        for peer in r.PEERS:
            if peer.needs in self.versions and any(x["who"] == peer.name for x in self.results):
                names[peer.name] = self.versions[peer.needs]
        lines.append("versions".ljust(width) + "  " + ", ".join(f"{n} {v}" for n, v in names.items()))
        return "\n".join(lines)

    def medians(self, face):
        """The medians of all rows but scale's: who has variants for the network stands in tables of its own."""
        parts = []
        every = list(self.figures(face))
        servers = {f.bench for row in r.ROWS if row.load for f in row.figures}
        plain = [f for f in every if f.bench not in servers]
        for figures, words in ((plain, ""), ([f for f in every if f.bench in servers], ", network")):
            who = self.contestants(face, figures)
            if not figures or not who:
                continue
            lines = [[f.bench, *(self.cell(face, f, w) for w in who)] for f in figures]
            parts.append(f"Medians{words}\n\n" + table(["", *who], lines))
            ratios = [self.ratio_line(face, f, who) for f in figures]
            if "Go" in who and len(who) > 1:
                more = " (of what is a second, more is better)" if words else ""
                parts.append(f"Ratio to Go{words}{more}\n\n" + table(["", *who], ratios))
        return parts

    def ratio_line(self, face, figure, who):
        go = self.median(face, figure.bench, "Go")
        values = [self.median(face, figure.bench, w) for w in who]
        return [figure.bench, *(f"{v / go:.2f}" if v is not None and go else DASH for v in values)]

    def best_peers(self):
        """For each row: the best Python peer, and ramet against it."""
        lines = []
        for figure in self.figures(r.PYTHON):
            peers = [
                (x["median"], x["who"])
                for x in self.results
                if (x["face"], x["bench"]) == (r.PYTHON, figure.bench) and goals.is_peer(x["who"])
            ]
            if not peers:
                continue
            value, who = (max if figure.unit == "1/s" else min)(peers)
            ours, go = (self.median(r.PYTHON, figure.bench, w) for w in ("ramet", "Go"))
            lines.append(
                [
                    figure.bench,
                    who,
                    show(value, figure.unit),
                    f"{value / go:.2f}" if go else DASH,
                    show(ours, figure.unit) if ours is not None else DASH,
                    f"{ours / value:.2f}" if ours is not None and value else DASH,
                ]
            )
        header = ["", "best peer", "its median", "to Go", "ramet", "to the best peer"]
        return table(header, lines) if lines else ""

    def scale(self, face):
        """Rows: operation and what stands still; columns: how many."""
        who = "ramet" if face == r.PYTHON else "ramet serialised"
        lines = []
        for operation in ("yield", "message", "echo"):
            base = self.median(face, r.scale_name(operation, 0, ""), who)
            if base is None:
                continue
            for kind, what in r.KINDS:
                cells = []
                for amount in r.AMOUNTS:
                    real = r.amount_of(kind, amount)
                    value = self.median(face, r.scale_name(operation, real, what), who)
                    note = f" [{real:,}]" if real != amount else ""
                    cells.append(f"{show(value, 'ns')} ({value / base:.2f}){note}" if value else DASH)
                lines.append([f"{operation} beside {what}", show(base, "ns"), *cells])
        if not lines:
            return ""
        note = (
            "In parentheses: against nothing beside it. Echo: server CPU a request, 64 B x 64 connections.\n"
            f"[n]: so many connections, not 100,000: here RLIMIT_NOFILE is {r.DESCRIPTORS:,}, and there are "
            f"{r.PORTS:,} ephemeral ports."
        )
        return table(["", "nothing", *(f"{a:,}" for a in r.AMOUNTS)], lines) + "\n" + note

    def goals(self):
        judged = goals.judge(self.results)
        parts = []
        for face in r.FACES:
            lines = [
                [g.bench, g.who, g.text(), f"{m:,.4g}" if g.against == "" else f"{m:.2f}", v]
                for g, m, v in judged
                if g.face == face
            ]
            if lines:
                parts.append(
                    f"Goals, {FACES[face]} face\n\n" + table(["", "who", "goal", "measured", "verdict"], lines)
                )
        count = {v: sum(x == v for _, _, x in judged) for v in (goals.MET, goals.NEAR, goals.MISSED)}
        if judged:
            parts.append("Goals: " + ", ".join(f"{n} {v}" for v, n in count.items()))
        return "\n\n".join(parts)

    def dashes(self):
        """Why a dash is a dash, each reason once."""
        reasons = {}
        for (_face, row, who), why in self.missing.items():
            if why != "has no such thing":
                reasons.setdefault((who, why), []).append(row)
        lines = [f"- {who}: {why} ({'; '.join(dict.fromkeys(rows))})" for (who, why), rows in reasons.items()]
        return "\n".join(["Dashes that stand for more than a thing that the peer has not:", *lines]) if lines else ""

    def text(self, quick):
        parts = [self.head()]
        if quick:
            parts.append("A QUICK RUN: 3 short samples. It shows that things work; its figures mean little.")
        for face in r.FACES:
            medians = self.medians(face)
            if medians:
                parts += [f"== {FACE_TITLES[face]} ==", *medians]
                if face == r.PYTHON and self.best_peers():
                    parts.append("Against the best Python peer\n\n" + self.best_peers())
            if self.scale(face):
                parts.append(f"Cost beside what stands still, {FACES[face]} face\n\n" + self.scale(face))
        parts += [self.dashes(), self.goals()]
        return "\n\n".join(p for p in parts if p) + "\n"

    # ---- the drawings ----

    def bar(self, face, figure, who, label=""):
        value = self.median(face, figure.bench, who)
        return label or who, value, show(value, figure.unit), who.startswith("ramet")

    def charts(self, face, group):
        """A chart a figure, a bar for everybody; of scale, a chart an operation, a bar for each amount."""
        figures = [f for f in self.figures(face, group) if f.unit != "1/s"]  # there more is better
        if group != "scale":
            return [(f.bench, f.unit, [self.bar(face, f, w) for w in self.contestants(face, [f])]) for f in figures]
        charts = {}
        for figure in figures:
            operation, beside = figure.bench.split(" beside ")
            who = self.contestants(face, [figure])[0]
            charts.setdefault(f"{operation} beside", []).append(self.bar(face, figure, who, beside))
        return [(name, name, bars) for name, bars in charts.items()]

    def draw(self, folder):
        for face in r.FACES:
            for group in dict.fromkeys(row.group for row in r.ROWS):
                charts = self.charts(face, group)
                if charts:
                    title = f"{group}, {FACES[face]} face: less is better, a line is a factor of ten"
                    (folder / f"{face}-{group}.svg").write_text(svg.bars(title, charts))


def write(out, results, missing, facts, versions, quick=False):
    """Print the report; write results.json, report.txt and the drawings into the folder `out`."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(results, missing, facts, versions)
    text = report.text(quick)
    print(text)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "report.txt").write_text(text)
    for old in (*folder.glob("python-*.svg"), *folder.glob("c-*.svg")):
        old.unlink()
    report.draw(folder)
    print(f"written: {folder}/results.json, report.txt and {len(list(folder.glob('*.svg')))} drawings")
