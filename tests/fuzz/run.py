"""Hostile inputs by the thousand: each is either quantized, to a graph that loads, or refused in a sentence.

    python tests/fuzz/run.py --inputs 20000 --seed 0 [--failures FILE]
    python tests/fuzz/run.py --only 123 456

An input is a number: the same number is the same input. Each goes to a worker process, which is killed where it takes
longer than 60 s, and may take 6 GiB. Counted are tracebacks, crashes of the process, and hangs; it ends with 1 where
there is any, and adds their numbers to FILE.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 60.0  # of one input
FRESH = 500  # inputs of one worker: so memory that leaks does not count as an input's
FOUND = ("traceback", "crash", "hang")


@dataclass
class Fuzzing:
    """Counts by kind, and what was found, by number."""

    counts: Counter[str] = field(default_factory=Counter)
    found: dict[int, dict[str, str]] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, -1)

    def over(self, numbers: Iterable[int], show: bool = False) -> "Fuzzing":
        worker: subprocess.Popen[bytes] | None = None
        done = 0
        try:
            for number in numbers:
                if worker is None or done % FRESH == 0:
                    _end(worker)
                    worker = _start()
                begin = time.monotonic()
                answer = _answer(worker, number)
                self.slowest = max(self.slowest, (time.monotonic() - begin, number))
                if answer["kind"] in ("crash", "hang"):
                    _end(worker)
                    worker = None
                if answer["kind"] in FOUND:
                    self.found[number] = answer
                if show:
                    print(number, json.dumps(answer), flush=True)
                self.counts[answer["kind"]] += 1
                done += 1
        finally:
            _end(worker)
        return self


def _start() -> "subprocess.Popen[bytes]":
    paths = (HERE, HERE.parent / "graphs", HERE.parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "worker.py")]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )


def _answer(worker: "subprocess.Popen[bytes]", number: int) -> dict[str, str]:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(f"{number}\n".encode())
    worker.stdin.flush()
    if not select.select([worker.stdout], [], [], SECONDS)[0]:
        return {"kind": "hang", "said": f"more than {SECONDS:.0f} s"}
    line = worker.stdout.readline()
    if not line:
        return {"kind": "crash", "said": f"the process ended with {worker.wait()}"}
    answer: dict[str, str] = json.loads(line)
    return answer


def _end(worker: "subprocess.Popen[bytes] | None") -> None:
    if worker is not None:
        assert worker.stdin is not None and worker.stdout is not None
        worker.kill()
        worker.wait()
        worker.stdin.close()
        worker.stdout.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", help="these inputs, and what came of each")
    parser.add_argument("--failures", type=Path, help="the file to add the numbers of what was found to")
    asked = parser.parse_args()
    first = asked.seed * 1_000_000
    begin = time.monotonic()
    fuzzing = Fuzzing().over(asked.only or range(first, first + asked.inputs), show=bool(asked.only))
    for number, answer in fuzzing.found.items():
        print(number, json.dumps(answer))
    counts = ", ".join(f"{fuzzing.counts[kind]} {kind}" for kind in ("quantized", "refused", *FOUND))
    print(f"{sum(fuzzing.counts.values())} inputs in {time.monotonic() - begin:.0f} s: {counts}")
    print(f"the slowest, {fuzzing.slowest[1]}, took {fuzzing.slowest[0]:.1f} s")
    if asked.failures and fuzzing.found:
        with asked.failures.open("a") as file:
            file.writelines(f"{number}\n" for number in fuzzing.found)
    return bool(fuzzing.found)


if __name__ == "__main__":
    sys.exit(main())
