"""Pipelines: every stage is a goroutine between two channels. When the end has enough, all stages are cancelled."""

from itertools import count

from ramet import Chan, Group

ended = []


def stage(name, source, convert, out):
    """Send what `convert` makes of each value, and close the channel at the end, however that comes."""
    try:
        for value in source:
            out.send(convert(value))
    finally:
        ended.append(name)
        out.close()


def pipeline(group, source, **stages):
    """Chain the stages, and give what comes out."""
    for name, convert in stages.items():
        out = Chan()
        group.go(stage, name, source, convert, out)
        source = out
    return source


with Group() as group:
    squares = pipeline(group, range(1, 5), square=lambda n: n * n, text=lambda n: f"<{n}>")
    print(*squares)
print("ended:", *ended)

ended.clear()
with Group() as group:
    squares = pipeline(group, count(1), square=lambda n: n * n, text=lambda n: f"<{n}>")  # without an end
    for square in squares:
        print(square)
        if square == "<9>":
            break
    group.cancel()
print("cancelled:", *sorted(ended))
