"""The command `onnxq quantize`, run as a user runs it, and the facts it writes."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BACKENDS = ("onnxruntime", "openvino", "tensorrt")


def quantize(model: object, *options: object) -> Mapping[str, Any]:
    """Facts of one run, by backend."""
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "facts.json"
        command = [sys.executable, "-m", "onnxq", "quantize", model, "--quiet", "--json", facts, *options]
        subprocess.run([str(part) for part in command], check=True)
        found: Mapping[str, Any] = json.loads(facts.read_text())["backends"]
    return found
