"""Quantizes one fuzzed input after another, in a process that may be killed: a number on each line of stdin, what came
of it on each line of stdout, as JSON."""

import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

MEMORY = 6 << 30  # bytes of address space beyond what the process has when it begins


def outcome(number: int, folder: Path) -> dict[str, str]:
    """``kind``: quantized, refused, or traceback."""
    from inputs import fuzz_input
    from onnxq import OnnxqError, Options, quantize

    content, done = fuzz_input(number)
    path = folder / "model.onnx"
    path.write_bytes(content)
    try:
        result = quantize(path, "random", backend="onnxruntime", options=Options(build=False, samples=2))
        _load(result["onnxruntime"].model.SerializeToString())
    except OnnxqError as error:
        return {"kind": "refused", "said": str(error)[:300], "done": done}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        mine = [frame for frame in traceback.extract_tb(error.__traceback__) if "onnxq" in frame.filename]
        said = f"{type(error).__name__}: {str(error)[:200]} at {place}"
        return {"kind": "traceback", "said": said, "mine": f"{mine[-1].filename}:{mine[-1].lineno}", "done": done}
    return {"kind": "quantized", "said": "", "done": done}


def _load(content: bytes) -> None:
    """What is quantized loads."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def main() -> None:
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    import inputs  # noqa: F401 - and with it everything else, before memory is limited
    import onnxq  # noqa: F401

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    with tempfile.TemporaryDirectory(prefix="onnxq-fuzz-") as top:
        folder = Path(top) / "model"
        for line in sys.stdin:
            folder.mkdir()
            (folder / "weights.bin").write_bytes(bytes(4096))
            (Path(top) / "weights.bin").write_bytes(bytes(4096))
            (folder / "link").symlink_to("/etc")
            os.mkfifo(folder / "fifo")
            answers.write(json.dumps(outcome(int(line), folder)) + "\n")
            shutil.rmtree(folder)
            (Path(top) / "weights.bin").unlink()


if __name__ == "__main__":
    main()
