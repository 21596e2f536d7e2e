"""A lock is held by one process at a time, and by none that was killed."""

import subprocess
import sys
import time
from pathlib import Path

from onnxq.caching.lock import alone

HOLD = """
import sys, time
from pathlib import Path
from onnxq.caching.lock import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path: Path, seconds: float) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    with holder(tmp_path / "x.lock", 0.5) as first:
        start = time.monotonic()
        with alone(tmp_path / "x.lock"):
            assert time.monotonic() - start > 0.3
        assert first.wait() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path / "x.lock", 60) as first:
        first.kill()
        first.wait()
        with alone(tmp_path / "x.lock"):
            pass
