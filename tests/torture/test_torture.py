"""The torture program, for some seconds, and with RAMET_SLOW=1 for minutes."""

import os
from pathlib import Path

import pytest
from helpers import SLOW, finish, start_py

HERE = Path(__file__).parent


@pytest.mark.long
def test_torture(request):
    seconds = 300 if SLOW else 7
    asan = "libasan" in os.environ.get("LD_PRELOAD", "")
    p = start_py(
        "import runpy, sys; sys.path.insert(0, sys.argv[1]); del sys.argv[0]; sys.argv[0] += '/torture.py';"
        "runpy.run_path(sys.argv[0], run_name='__main__')",
        str(HERE),
        f"--seconds={seconds}",
        f"--limit={seconds + 300 if SLOW else 100 if asan else 30}",
    )
    ended = finish(p, timeout=seconds + 300 if SLOW else 55)
    print(ended)
    assert ended.out.endswith("ok\n"), str(ended)
