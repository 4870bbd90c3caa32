"""An object of every public class that was made without __init__: whatever is done with it harms nobody."""

from helpers import run_py

PROGRAM = '''
import gc, importlib, pkgutil, sys
import ramet

names = [m.name for m in pkgutil.walk_packages(ramet.__path__, "ramet.") if m.name != "ramet.tour" and "._" not in m.name]
classes = {
    o: f"{module.__name__}.{name}"
    for module in [ramet, *map(importlib.import_module, names)]
    for name, o in vars(module).items()
    if isinstance(o, type) and o.__module__.split(".")[0] == "ramet" and not name.startswith("_")
}

def ours(cls, method):
    return next(k for k in cls.__mro__ if method in vars(k)).__module__.startswith("ramet")

def attempt(what, call, *allowed):
    """What it raises is of `allowed`, and it does not wait for ever."""
    try:
        with ramet.move_on_after(0.01):
            call()
    except allowed as e:
        assert not isinstance(e, SystemError), (what, e)

def use(o, name):
    value = getattr(o, name)
    if callable(value):
        value()

def try_all(cls, name):
    def new():
        return cls.__new__(cls)

    try:
        new()
    except TypeError:
        return "refused"
    o = new()
    if ours(cls, "__repr__"):
        assert isinstance(repr(o), str)
    for call in (bool, hash, len):
        attempt((name, call), lambda: call(o), TypeError)
    for call in (iter, next, list, dir, lambda o: o == o, lambda o: o < o, lambda o: o + 1, lambda o: o[0]):
        attempt((name, call), lambda: call(o), Exception)
    for attribute in dir(cls):
        if not attribute.startswith("_") or attribute.startswith("__") and attribute != "__class__":
            print(name, attribute, end=", ", flush=True)
            attempt((name, attribute), lambda: use(new(), attribute), Exception)
            attempt((name, attribute), lambda: use(o, attribute), Exception)
    del o
    gc.collect()
    return "made"

def main():
    for cls, name in classes.items():
        print(name, try_all(cls, name), flush=True)

main()
ramet.go(main).join()
'''


def test_bare_objects_are_harmless():
    ended = run_py(PROGRAM, timeout=180)
    assert ended.err == "", str(ended)
    lines = ended.out.splitlines()
    assert sum(line.endswith("made") for line in lines) > 50, str(ended)
    for name in ("ramet.net.Server", "ramet.io.PipeReader", "ramet.os.Popen", "ramet.Chan", "ramet.sync.Queue"):
        assert f"{name} made" in ended.out
    assert "ramet.Goroutine refused" in ended.out
