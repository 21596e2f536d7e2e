"""What onnxq reaches, as ratios measured in one run: every part of the benchmark, each in a process of its own.

make bench                                             on the models that ship with onnxq, and nets made here
make bench ONNXQ_CORPUS=FOLDER                         and on a corpus of real models
make bench ONNXQ_CORPUS=FOLDER ONNXQ_PEERS=PYTHON:...  and beside its peers, which those Pythons have
"""

import subprocess
import sys
from pathlib import Path

PARTS = (
    "shipped",
    "int8_share",
    "engine_speed",
    "calibration",
    "against_peers",
    "whole_run",
    "warm_cache",
    "accuracy",
    "engine_accuracy",
    "deployed",
    "diagnosis",
    "rewrites",
    "per_tensor",
    "balance",
    "low_bits",
    "what_passes_bring",
    "solvers",
    "tuned",
    "robust",
    "same_bytes",
)


def main() -> int:
    commands = {part: [sys.executable, str(Path(__file__).with_name(f"{part}.py"))] for part in PARTS}
    failed = [part for part, command in commands.items() if subprocess.run(command).returncode]
    if failed:
        print(f"\nFailed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
