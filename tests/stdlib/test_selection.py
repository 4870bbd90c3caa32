"""A selection of the interpreter's own tests: no difference in a goroutine (`make test-cpython` runs them all)."""

import os

import compare
import pytest

SELECTION = compare.modules(selection=True)
if not SELECTION:
    pytest.skip("this CPython comes without its tests", allow_module_level=True)
if "libasan" in os.environ.get("LD_PRELOAD", ""):
    pytest.skip("ASan: it takes the fault that ends a recursion, and has no time for so much", allow_module_level=True)


@pytest.mark.timeout(300)  # four processes at most
@pytest.mark.parametrize("module", SELECTION)
def test_no_difference(module):
    result = compare.compare(module, limit=60)
    assert not result.differences, "\n".join([*result.differences, result.log])
    assert result.tests and result.switches


# ---- the comparison itself -------------------------------------------------------------------------------------------------


def outcomes(**tests):
    return compare.Run({name: (outcome, "") for name, outcome in tests.items()})


def test_the_same():
    a = outcomes(x="passed", y="failed", z="skipped")
    assert [*compare.differences(a, a)] == []


@pytest.mark.parametrize(
    "plain, goroutine, expected",
    [
        ({"x": "passed"}, {"x": "failed"}, {"x": "plainly: passed; in a goroutine: failed"}),
        ({"x": "failed"}, {"x": "passed"}, {"x": "plainly: failed; in a goroutine: passed"}),
        ({"x": "passed"}, {}, {"x": "runs only plainly"}),
        ({}, {"x": "passed"}, {"x": "runs only in a goroutine"}),
    ],
)
def test_differences_are_seen(plain, goroutine, expected):
    assert dict(compare.differences(outcomes(**plain), outcomes(**goroutine))) == expected


def test_a_process_that_died_is_one_difference():
    plain, died = outcomes(x="passed", y="passed"), outcomes(x="passed")
    died.ended = "died of SIGSEGV in y"
    how = "plainly: ends; in a goroutine: died of SIGSEGV in y"
    assert dict(compare.differences(plain, died)) == {compare.THE_PROCESS: how}


def test_every_known_difference_has_a_reason():
    for e in compare.entries():
        assert len(e.why.split()) > 2, e
