"""The examples of docs/*.md: they run, and print what the page says.

The python blocks of a page are run in order, in one process. A text block right behind one is what it prints, on
stdout and stderr; a block without prints nothing. `...` stands for any text within a line, and alone on its line for any
lines. Comments in the page say more:

    <!-- fresh -->              before a block: a new process from here on
    <!-- not run: reason -->    before a block: it is not run

A c block is compiled against the header and library alone, and run.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CERTS = ROOT / "tests" / "python" / "certs"
PAGES = sorted((ROOT / "docs").glob("*.md"))

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$|^<!-- (.*?) -->$", re.DOTALL | re.MULTILINE)


@dataclass
class Block:
    language: str
    code: str
    line: int  # of its first line, in the page
    notes: list[str]
    prints: str = ""

    def note(self, name):
        """What stands behind `name: ` in a comment before the block; None without such a comment."""
        return next((n.partition(": ")[2] for n in self.notes if n.partition(":")[0] == name), None)


def blocks(page):
    text = page.read_text(encoding="utf-8")
    found, notes, end = [], [], -1
    for m in FENCE.finditer(text):
        language, body, note = m.groups()
        if note is not None:
            notes.append(note)
        elif language == "text" and found and not text[end : m.start()].strip():
            found[-1].prints = body
        else:
            if language in ("python", "c"):
                found.append(Block(language, body, text.count("\n", 0, m.start()) + 2, notes))
            notes = []
            end = m.end() if language in ("python", "c") else -1
    return found


def processes(page):
    """The blocks of a page that run, those of one process together."""
    runs = []
    for block in blocks(page):
        if block.language != "python" or block.note("not run"):
            continue
        if not runs or block.note("fresh") is not None:
            runs.append([])
        runs[-1].append(block)
    return runs


def pattern(text):
    """A regex for what a block prints."""
    regex = ""
    for line in text.strip().splitlines():
        regex += r"(.*\n)*" if line.strip() == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"
    return regex


def check(block, page, printed):
    assert re.fullmatch(pattern(block.prints), printed.strip() + "\n" if printed.strip() else ""), (
        f"{page.name}:{block.line}: the page says\n{block.prints}\nand it prints\n{printed}"
    )


def run(command, cwd):
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        cwd=cwd,
        timeout=180,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", "PYTHON_COLORS": "0"},
    )


def run_python(page, program, tmp_path):
    """Run the blocks of one process. Each stands in the program where it stands in the page."""
    mark = "---- the block's end ----"
    lines = []
    for block in program:
        code = block.code.splitlines()
        lines += [""] * (block.line - 1 - len(lines)) + code + [f"print({mark!r})"]
    shutil.copy(CERTS / "localhost.pem", tmp_path / "server.pem")  # what a page may find in its directory
    shutil.copy(CERTS / "ca.pem", tmp_path)
    script = tmp_path / f"page_{page.stem}.py"  # os.py would hide a module
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ended = run([sys.executable, str(script)], tmp_path)
    assert ended.returncode == 0, f"{page.name}: exit status {ended.returncode}\n{ended.stdout}"
    *printed, at_exit = ended.stdout.split(mark + "\n")
    printed[-1] += at_exit
    for block, text in zip(program, printed, strict=True):
        check(block, page, text)


@pytest.mark.parametrize("page", [p for p in PAGES if processes(p)], ids=lambda p: p.stem)
def test_page(page, tmp_path):
    for program in processes(page):
        run_python(page, program, tmp_path)


def test_blocks_that_are_not_run_are_few():
    """Each says why, and they do not become many."""
    skipped = [(p.name, b.note("not run")) for p in PAGES for b in blocks(p) if b.note("not run") is not None]
    assert all(reason for _, reason in skipped), skipped
    assert len(skipped) <= 3, skipped


@pytest.mark.parametrize("page", [p for p in PAGES if any(b.language == "c" for b in blocks(p))], ids=lambda p: p.stem)
def test_c_blocks(page, tmp_path):
    build = os.environ.get("RAMET_C_BUILD")
    if not build:
        pytest.skip("C block: RAMET_C_BUILD is not set (make test sets it)")
    library = Path(build, "libramet.a")
    if not library.exists():
        pytest.skip(f"C block: {library} has not been built")
    for block in blocks(page):
        if block.language == "c":
            source, program = tmp_path / "block.c", tmp_path / "block"
            source.write_text(block.code)
            command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'include'}", source, library]
            built = run([*map(str, command), "-pthread", "-o", str(program)], tmp_path)
            assert built.returncode == 0, f"{page.name}:{block.line}: it does not compile\n{built.stdout}"
            ended = run([str(program)], tmp_path)
            assert ended.returncode == 0, f"{page.name}:{block.line}: exit status {ended.returncode}\n{ended.stdout}"
            check(block, page, ended.stdout)
