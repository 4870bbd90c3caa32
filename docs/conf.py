"""Sphinx: guide pages in Markdown (docs/*.md), and the reference from docstrings (docs/api).

ramet's docstrings are plain text, made for help(): to_rest() turns one into reST. check_complete() is an error for
every public name that has no entry.
"""

import importlib
import inspect
import re

import ramet
from sphinx.util import logging

logger = logging.getLogger(__name__)

project = "ramet"
author = "The ramet authors"
copyright = author
version = release = ramet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"ramet {version}"
html_copy_source = False
html_show_copyright = False
highlight_language = "python"
smartquotes = False  # of b'' they would make something else
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
add_module_names = False

# The names are ramet's to explain, not those of the standard library
nitpick_ignore_regex = [(r"py:.*", r"(?!ramet\b).*")]

MODULES = [
    "ramet",
    "ramet.sync",
    "ramet.sync.atomic",
    "ramet.time",
    "ramet.context",
    "ramet.net",
    "ramet.io",
    "ramet.os",
    "ramet.os.signal",
    "ramet.debug",
]
SPECIAL = ["__enter__", "__exit__", "__iter__", "__len__", "__class_getitem__"]

autodoc_member_order = "groupwise"
autodoc_typehints = "none"  # functions in C have none: the stubs are for tools
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "special-members": ", ".join(SPECIAL),
    # not what the standard library documents
    "inherited-members": "object, BaseException, OSError, Future, Executor, Popen, IOBase, RawIOBase",
}


# ---- docstrings ----------------------------------------------------------------------------------

# what a C type does by a slot cannot have a docstring of its own
SLOTS = {
    "ramet.Chan.__iter__": "Receive until the channel is closed and drained. May park. Any thread.",
    "ramet.Chan.__len__": "How many values are in the buffer. Never parks. Any thread.",
    "ramet.net.Conn.__iter__": "The lines, as readline() gives them. May park. Goroutines and the main thread.",
    "ramet.net.Listener.__iter__": "Accept until the listener is closed. May park. Goroutines and the main thread.",
}


def find(word: str, name: str) -> str | None:
    """The full name of what a docstring of `name` calls `word`: of its class, its module, or the package."""
    parts = name.split(".")
    for owner in [".".join(parts[:n]) for n in range(len(parts), 0, -1)]:
        obj = importlib.import_module("ramet")
        try:
            for part in [*owner.split(".")[1:], *word.split(".")]:
                obj = getattr(obj, part)
        except AttributeError:
            continue
        if not inspect.ismodule(obj):
            return f"{owner}.{word}"
    return None


def link(match: re.Match[str], name: str) -> str:
    word, call = match.groups()
    target = find(word, name)
    camel = re.fullmatch(r"([A-Z][a-z]+){2,}|Cancelled|Canceled", word)
    if not target or target == name or not (call or camel):
        return match[0]
    return f":py:obj:`{word}{call or ''} <{target}>`"


def prose(line: str, name: str) -> str:
    """A line of text: code in backquotes stays code, names become links, reST's own characters are escaped."""
    pieces = re.split(r"(``[^`]+``|`[^`]+`)", line)
    for i, piece in enumerate(pieces):
        if i % 2:
            pieces[i] = f"``{piece.strip('`')}``"
        else:
            piece = re.sub(r"([\\*|]|_(?!\w))", r"\\\1", piece)
            pieces[i] = re.sub(r"\b([A-Za-z_][\w.]*\w)(\(\))?", lambda m: link(m, name), piece)
    return "".join(pieces)


def to_rest(app, what, name, obj, options, lines):
    """What is indented by four is code, all else is prose."""
    out = []
    for line in [SLOTS[name]] if name in SLOTS else lines:
        if not line.startswith("    "):
            out.append(prose(line, name))
            continue
        if not next((before for before in reversed(out) if before), "").startswith("    "):
            out += ["", ".. code-block:: python", ""]
        out.append(line)
    if what == "exception":
        out += ["", "Bases: " + ", ".join(f":py:class:`{public_name(base)}`" for base in obj.__bases__) + "."]
    lines[:] = out


def public_name(cls):
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"


# ---- nothing is missing --------------------------------------------------------------------------


def public_names():
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            obj = getattr(module, name)
            full = f"{module_name}.{name}"
            yield full
            if not isinstance(obj, type) or obj.__name__ != name or not obj.__module__.startswith("ramet"):
                continue  # another name of something, or the standard library's
            for cls in obj.__mro__:
                if cls.__module__.startswith("ramet"):
                    yield from (f"{full}.{m}" for m in vars(cls) if not m.startswith("_") or m in SPECIAL)


def check_complete(app, env):
    have = env.domains.python_domain.objects
    for name in sorted({*public_names()} - {*have}):
        logger.warning("%s is public, and on no page", name)


def setup(app):
    for name in ramet.__all__:
        getattr(ramet, name)  # some are found on first use only
    app.connect("autodoc-process-docstring", to_rest)
    app.connect("env-check-consistency", check_complete)
