"""Blocking calls: the SHA-512 of every file of a tree, one after the other, then through ramet.blocking.

    python digests.py [DIR] [--threads N]

Reading a file and hashing it block their thread. blocking() has that done by a pool thread, and only the goroutine
that asks waits, so a goroutine a file keeps every core busy (hashlib lets go of the GIL while it works).
"""

import argparse
import hashlib
import os
import sys
import sysconfig
import time
from pathlib import Path

import ramet


def sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def one_after_the_other(paths: list[Path]) -> dict[Path, str]:
    return {path: sha512(path) for path in paths}


def goroutine_a_file(paths: list[Path]) -> dict[Path, str]:
    running = {path: ramet.go(ramet.blocking, sha512, path) for path in paths}
    return {path: goroutine.join() for path, goroutine in running.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the pool (%(default)s)")
    args = parser.parse_args()
    ramet.set_max_threads(args.threads)

    paths = sorted(p for p in args.dir.rglob("*") if p.is_file() and "site-packages" not in p.parts)
    size = sum(p.stat().st_size for p in paths)
    print(f"{len(paths)} files, {size / 1e6:.1f} MB")
    results = []
    for way in (one_after_the_other, goroutine_a_file):
        begin = time.monotonic()
        results.append(way(paths))
        print(f"{way.__name__:20} {time.monotonic() - begin:6.2f} s")
    if results[0] != results[1]:
        print("the digests DIFFER")
        return 1
    print("the digests agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
