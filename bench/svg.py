"""Draws horizontal bars on a logarithmic axis as SVG, with nothing but strings."""

import math
from html import escape

WIDTH, LABEL, VALUE = 860, 150, 90  # of the drawing, of the names on the left, of the figures on the right
BAR, GAP, TITLE, CHART = 16, 4, 40, 34  # heights: a bar, between bars, the head, a chart's own head
OURS, GO, THEIRS = "#d9480f", "#1c7ed6", "#adb5bd"
FONT = "font-family='system-ui, sans-serif'"


def colour(who):
    return OURS if who.startswith("ramet") else GO if who == "Go" else THEIRS


def text(x, y, words, size=12, anchor="start", fill="#212529", weight="normal"):
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='{size}' text-anchor='{anchor}' "
        f"fill='{fill}' font-weight='{weight}'>{escape(words)}</text>"
    )


def decades(values):
    """The powers of ten that enclose the values, at least two decades of them."""
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    return low, max(high, low + 2)


def chart(top, title, bars):
    """One chart: the SVG of it and its height. `bars`: (who, value, the value in words)."""
    out = [text(8, top + 20, title, 13, weight="bold")]
    low, high = decades([value for _, value, _ in bars])
    span = WIDTH - LABEL - VALUE
    bottom = top + CHART + len(bars) * (BAR + GAP)
    for decade in range(low, high + 1):
        x = LABEL + span * (decade - low) / (high - low)
        out.append(f"<line x1='{x:.1f}' y1='{top + CHART - 4}' x2='{x:.1f}' y2='{bottom}' stroke='#e9ecef'/>")
    y = top + CHART
    for who, value, words in bars:
        length = max(2.0, span * (math.log10(value) - low) / (high - low))
        ours = who.startswith("ramet")
        weight = "bold" if ours else "normal"
        out.append(text(LABEL - 6, y + 12, who, anchor="end", weight=weight))
        out.append(f"<rect x='{LABEL}' y='{y}' width='{length:.1f}' height='{BAR}' rx='2' fill='{colour(who)}'/>")
        out.append(text(LABEL + length + 5, y + 12, words, weight=weight))
        y += BAR + GAP
    return out, bottom - top + 8


def bars(title, charts):
    """A whole drawing. `charts`: (title, bars) each; what is not above zero cannot be drawn and is left out."""
    out, top = [text(8, 24, title, 16, weight="bold")], TITLE
    for name, some in charts:
        some = [bar for bar in some if bar[1] > 0]
        if some:
            lines, height = chart(top, name, some)
            out += lines
            top += height
    size = f"width='{WIDTH}' height='{top + 8}' viewBox='0 0 {WIDTH} {top + 8}'"
    background = f"<rect width='{WIDTH}' height='{top + 8}' fill='white'/>"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size}>{background}\n" + "\n".join(out) + "\n</svg>\n"
