"""Group: goroutines that belong together. The first failure cancels the rest, and nobody is left behind."""

from ramet import Cancelled, Chan, Group

never = Chan()
log = []


def fetch(page):
    try:
        if page == "b":
            raise LookupError("no page b")
        never.recv()  # the others are slow
    except Cancelled:
        log.append(f"{page} was cancelled")
        raise


try:
    with Group() as group:
        for page in ("a", "b", "c"):
            group.go(fetch, page)
except* LookupError as failed:
    print("failed:", *failed.exceptions)
print(", ".join(sorted(log)))


def double(n):
    return 2 * n


# At most two of them run at once: go() and map() wait for a place.
with Group(limit=2) as group:
    print(*group.map(double, range(5)))
