"""Where the graphs of a run go, and what lies beside them."""

import os
from pathlib import Path

from onnxq.errors import OutputError


def beside(path: Path, suffix: str | None) -> tuple[Path, ...]:
    """What is written beside a backend's file ``path``: nothing, or where that is the float model which the target's
    tools take, the file of grids, which ends in ``suffix``, and the Q/DQ graph, which ends in ``.simulated.onnx``."""
    if suffix is None:
        return ()
    stem = path.name.removesuffix(".onnx")
    return path.with_name(stem + suffix), path.with_name(f"{stem}.simulated.onnx")


def places(out: str | Path, stem: str, backends: tuple[str, ...]) -> dict[str, Path]:
    """A path per backend: ``out`` with ``{backend}`` filled in; in it, if it is a folder; else it, for one backend."""
    text = str(out)
    if "{backend}" in text:
        return {name: Path(text.replace("{backend}", name)) for name in backends}
    path = Path(out)
    if path.is_dir() or text.endswith(("/", os.sep)) or (len(backends) > 1 and path.suffix != ".onnx"):
        return {name: path / f"{stem}.{name}.onnx" for name in backends}
    if len(backends) > 1:
        raise OutputError(
            f"{path}: one file cannot hold {len(backends)} graphs. Give -o a folder, or a name with {{backend}} in it."
        )
    return {backends[0]: path}
