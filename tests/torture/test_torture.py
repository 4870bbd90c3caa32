"""The torture program, for some seconds, and with RAMET_SLOW=1 for minutes."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest
from helpers import SLOW, finish, start_py

HERE = Path(__file__).parent
ASAN = "libasan" in os.environ.get("LD_PRELOAD", "")
WITHOUT = {
    "forks": ASAN,  # it leaves its allocator locked in a forked child
    # assertions of CPython's want every frame prepared for what is traced, and 3.15 is the first that lets us do it
    "traces": sysconfig.get_config_var("Py_DEBUG") and sys.version_info < (3, 15),
}


@pytest.mark.long
def test_torture():
    seconds = 300 if SLOW else 7
    without = [name for name, why in WITHOUT.items() if why]
    p = start_py(
        "import runpy, sys; sys.path.insert(0, sys.argv[1]); del sys.argv[0]; sys.argv[0] += '/torture.py';"
        "runpy.run_path(sys.argv[0], run_name='__main__')",
        str(HERE),
        f"--seconds={seconds}",
        f"--without={','.join(without)}",
        f"--limit={120 if SLOW else 40 if ASAN else 30}",
    )
    ended = finish(p, timeout=seconds + 300 if SLOW else 55)
    assert ended.out.endswith("ok\n"), str(ended)
