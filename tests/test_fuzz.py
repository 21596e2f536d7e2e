"""A short run of the fuzzer, and the inputs that once were tracebacks. ``tests/fuzz/run.py`` has the long one."""

import sys

import pytest

from run import Fuzzing

SHORT = range(150)
ONCE = (82, 1000017, 1000073, 1000344, 1000443, 1000495, 1000733, 2000182, 2000361, 11000720, 11000893, 12001777)
posix = pytest.mark.skipif(sys.platform == "win32", reason="workers are limited by POSIX's means")


@posix
@pytest.mark.parametrize("numbers", [SHORT, ONCE], ids=["short", "once"])
def test_a_hostile_input_is_quantized_or_refused(numbers: range | tuple[int, ...]) -> None:
    fuzzing = Fuzzing().over(numbers)
    assert fuzzing.found == {}
    assert fuzzing.counts["quantized"] + fuzzing.counts["refused"] == len(numbers)
    assert fuzzing.counts["refused"] > 0
