"""Draws horizontal bars on a logarithmic axis as SVG, with nothing but strings.

A drawing is a column of charts; all of them that share a unit share an axis, so that bars may be compared
across charts. Each vertical line is a factor of ten.
"""

import math
from html import escape

WIDTH, LABEL, VALUE = 880, 210, 90  # of the drawing, of the names on the left, of the figures on the right
BAR, GAP, TITLE, CHART = 16, 4, 40, 34  # heights: a bar, between bars, the head, a chart's own head
OURS, GO, THEIRS = "#d9480f", "#1c7ed6", "#adb5bd"
FONT = "font-family='system-ui, sans-serif'"


def colour(who, ours):
    return OURS if ours else GO if who == "Go" else THEIRS


def text(x, y, words, size=12, anchor="start", fill="#212529", weight="normal"):
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='{size}' text-anchor='{anchor}' "
        f"fill='{fill}' font-weight='{weight}'>{escape(words)}</text>"
    )


def decades(values):
    """The powers of ten that enclose the values, at least two decades of them; no bar is of no length."""
    low = math.floor(math.log10(min(values) / 1.5))
    high = math.ceil(math.log10(max(values)))
    return low, max(high, low + 2)


def chart(top, title, bars, axis):
    """One chart: the SVG of it and its height. `bars`: (name, value, the value in words, is it ours) each."""
    out = [text(8, top + 20, title, 13, weight="bold")]
    low, high = axis
    span = WIDTH - LABEL - VALUE
    bottom = top + CHART + len(bars) * (BAR + GAP)
    for decade in range(low, high + 1):
        x = LABEL + span * (decade - low) / (high - low)
        out.append(f"<line x1='{x:.1f}' y1='{top + CHART - 4}' x2='{x:.1f}' y2='{bottom}' stroke='#dee2e6'/>")
    y = top + CHART
    for who, value, words, ours in bars:
        length = span * (math.log10(value) - low) / (high - low)
        weight = "bold" if ours else "normal"
        size = f"width='{length:.1f}' height='{BAR}'"
        out.append(text(LABEL - 6, y + 12, who, anchor="end", weight=weight))
        out.append(f"<rect x='{LABEL}' y='{y}' {size} rx='2' fill='{colour(who, ours)}'/>")
        out.append(text(LABEL + length + 5, y + 12, words, weight=weight))
        y += BAR + GAP
    return out, bottom - top + 8


def bars(title, charts):
    """A whole drawing. `charts`: (title, unit, bars) each; zero has no place on a logarithmic axis."""
    charts = [(name, unit, [bar for bar in some if bar[1] > 0]) for name, unit, some in charts]
    values = {}
    for _, unit, some in charts:
        values.setdefault(unit, []).extend(bar[1] for bar in some)
    out, top = [text(8, 24, title, 16, weight="bold")], TITLE
    for name, unit, some in charts:
        if some:
            lines, height = chart(top, name, some, decades(values[unit]))
            out += lines
            top += height
    size = f"width='{WIDTH}' height='{top + 8}' viewBox='0 0 {WIDTH} {top + 8}'"
    background = f"<rect width='{WIDTH}' height='{top + 8}' fill='white'/>"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size}>{background}\n" + "\n".join(out) + "\n</svg>\n"
