"""Go by example: each program, ours and Go's, prints what its page in docs/by-example says.

A section of a page is: our program, included; perhaps what it prints; Go's program; what that prints, and ours, if
nothing was said before.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "examples" / "by_example"
PAGES = sorted((ROOT / "docs" / "by-example").glob("*.md"))
GO_WANTED = (1, 25)  # WaitGroup.Go
# nothing is fetched, and no C is linked in: with it Go finds no deadlock
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off"}


class Section(NamedTuple):
    path: Path
    go: str
    says: str  # what ours prints
    go_says: str


def sections():
    for page in PAGES:
        included = None
        said = []
        go = ""
        for kind, what, text in re.findall(r"^```(\S+) ?(\S*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            if kind == "{literalinclude}":
                included, said, go = (page.parent / what).resolve(), [], ""
            elif kind == "go":
                go = text
            elif kind == "text":
                said.append(text)
                if go:
                    yield Section(included, go, said[0], said[-1])


SECTIONS = {s.path.stem: s for s in sorted(sections())}
each = pytest.mark.parametrize("name", SECTIONS)


def run(*command, cwd=None, status=0):
    """(stdout, stderr), once the exit status is as expected."""
    env = os.environ | GO_ENVIRONMENT
    p = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", timeout=180, stdin=subprocess.DEVNULL
    )
    assert p.returncode == status, f"exit status {p.returncode}\n{p.stdout}\n{p.stderr}"
    return p.stdout, p.stderr


def test_every_program_is_on_a_page():
    assert sorted(s.path for s in SECTIONS.values()) == sorted(PROGRAMS.glob("*.py"))
    assert [name[:2] for name in SECTIONS] == [f"{n:02}" for n in range(1, len(SECTIONS) + 1)]


@each
def test_program(name):
    section = SECTIONS[name]
    assert run(sys.executable, str(section.path)) == (section.says, "")


# ---- Go's ----------------------------------------------------------------------------------------


@functools.cache
def no_go():
    """Why Go's programs cannot be built here, or None."""
    if not shutil.which("go"):
        return "go is not installed"
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if not found or tuple(map(int, found.groups())) < GO_WANTED:
        return f"{version or 'go'} is older than Go {GO_WANTED[0]}.{GO_WANTED[1]}"
    return None


@pytest.fixture(scope="module")
def go_program(tmp_path_factory):
    """All of Go's programs in one binary, which takes seconds less than linking one for each: its argument is a name."""
    if why := no_go():
        pytest.skip(f"Go's programs: {why}")
    module = tmp_path_factory.mktemp("go")
    module.joinpath("go.mod").write_text(f"module byexample\n\ngo {GO_WANTED[0]}.{GO_WANTED[1]}\n")
    imports, cases = "", ""
    for name, section in SECTIONS.items():
        package = f"p{name[:2]}"
        source = section.go.replace("package main\n", f"package {package}\n", 1)
        source, count = re.subn(r"^func main\(\)", "func Main()", source, flags=re.MULTILINE)
        assert count == 1, f"{name}: no whole program of Go's"
        module.joinpath(package).mkdir()
        module.joinpath(package, "main.go").write_text(source)
        imports += f'\t"byexample/{package}"\n'
        cases += f'\tcase "{name}":\n\t\t{package}.Main()\n'
    main = f'package main\n\nimport (\n{imports}\t"os"\n)\n\nfunc main() {{\n\tswitch os.Args[1] {{\n{cases}\t}}\n}}\n'
    module.joinpath("main.go").write_text(main)
    run("go", "build", "-o", "program", ".", cwd=module)
    return module / "program"


@pytest.mark.timeout(300)  # where Go has built nothing yet, it builds its library
def test_go_programs_are_in_order(go_program):
    assert run("gofmt", "-l", ".", cwd=go_program.parent) == ("", "")
    run("go", "vet", "./...", cwd=go_program.parent)


@each
@pytest.mark.timeout(300)
def test_go_program(go_program, name):
    wanted, fatal, why = SECTIONS[name].go_says.partition("fatal error: ")
    out, err = run(str(go_program), name, status=2 if fatal else 0)
    assert re.sub(r"\b(true|false)\b", lambda word: word[0].title(), out) == wanted
    assert err.startswith(fatal + why) if fatal else not err
