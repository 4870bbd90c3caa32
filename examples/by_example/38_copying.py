"""Copying: io.copy moves bytes between files, pipes and connections, in the kernel where that can be."""

import tempfile
from pathlib import Path

from ramet import go, io

with tempfile.TemporaryDirectory() as folder:
    source, target = Path(folder, "source"), Path(folder, "target")
    with io.open(source, "w") as f:  # every operation on a pool thread
        for n in range(1000):
            f.write(f"line {n}\n")

    with io.open(source, "rb") as src, io.open(target, "wb") as dst:
        print("file to file:", io.copy(dst, src), "bytes")
    print("the same:", source.read_bytes() == target.read_bytes())

    # A pipe holds some 64 KiB: who writes more waits for the reader.
    r, w = io.pipe()

    @go
    def fill():
        with w, io.open(source, "rb") as src:
            return io.copy(w, src)

    with r:
        lines = list(r)
    print("through a pipe:", len(lines), "lines,", fill.join(), "bytes")
    print("the last one:", lines[-1].decode().rstrip())
