"""onnxq and its peers, each in a process of its own that imports once and then quantizes as often as it is asked.

ONNXQ_PEERS names one Python or several, with ``:`` between; each quantizer is run by the first that has it, the one
that runs the benchmark before these.
"""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PYTHONS = (sys.executable, *filter(None, os.environ.get("ONNXQ_PEERS", "").split(":")))
WORKER = Path(__file__).parent / "runners" / "worker.py"
GONE = "it could not be imported, or ended"


class PeerError(Exception):
    """A quantizer said no, or nothing in time."""


@dataclass(frozen=True)
class Quantizer:
    """A ``package`` asked in one way; ``runners/`` has a file for each. ``batch``: samples at a time, where the model
    takes several, chosen for the peer's speed."""

    label: str
    package: str
    options: Mapping[str, object] = field(default_factory=dict)
    batch: int = 32

    @property
    def runner(self) -> str:
        return f"with_{self.package.removesuffix('_onnx')}"


@dataclass(frozen=True)
class Task:
    """``model`` and ``samples`` are files; ``batches``: whether the model takes several samples at a time."""

    model: Path
    samples: Path
    batches: bool


@dataclass(frozen=True)
class Took:
    """Seconds of a call, and the peak of memory in MB above what the process had before."""

    seconds: float
    mb: float


def python_with(package: str) -> str | None:
    return next((python for python in PYTHONS if _has(python, package)), None)


@cache
def _has(python: str, package: str) -> bool:
    if shutil.which(python) is None:
        sys.exit(f"ONNXQ_PEERS: {python} is not a Python.")
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", code], env=_environment(python), capture_output=True).returncode == 0


def _environment(python: str) -> dict[str, str]:
    """Ours, but for others without where onnxq lies: its folders go by names that are common."""
    return {name: value for name, value in os.environ.items() if python == sys.executable or name != "PYTHONPATH"}


def installed(quantizers: Collection[Quantizer]) -> list[Quantizer]:
    """Those that some Python has."""
    return [one for one in quantizers if python_with(one.package)]


def say_missing(quantizers: Collection[Quantizer]) -> None:
    """A line, if one is missing."""
    missing = sorted({one.package for one in quantizers} - {one.package for one in installed(quantizers)})
    if missing:
        print(f"Left out: {', '.join(missing)}. No Python that ONNXQ_PEERS names has it.")


class Running:
    """A process that has imported a quantizer."""

    def __init__(self, quantizer: Quantizer) -> None:
        self.quantizer = quantizer
        python = str(python_with(quantizer.package))
        self._process = subprocess.Popen(
            [python, WORKER, quantizer.runner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(python),
            text=True,
        )

    def __call__(self, task: Task, out: Path, count: int | None = None, limit: float | None = None) -> Took:
        """Quantize with the first ``count`` samples in ``limit`` seconds. Raises PeerError, and is then of no use."""
        process, asked = self._process, self.quantizer
        assert process.stdin is not None
        assert process.stdout is not None
        request = {
            "model": str(task.model),
            "samples": str(task.samples),
            "count": count,
            "batch": asked.batch if task.batches else 1,
            "out": str(out),
            "options": dict(asked.options),
        }
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise PeerError(GONE) from error
        if not select.select([process.stdout], [], [], limit)[0]:
            process.kill()
            raise PeerError(f"more than {limit:.0f} s")
        line = process.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {"error": GONE}
        if "error" in said:
            raise PeerError(said["error"])
        return Took(said["seconds"], said["mb"])

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def running(quantizer: Quantizer) -> Iterator[Running]:
    process = Running(quantizer)
    try:
        yield process
    finally:
        process.close()
