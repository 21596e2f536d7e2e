"""``onnxq cmake-dir``: where CMake finds ``onnxq_quantize(...)``."""

import typer

EXAMPLES = """
Print the folder of onnxq's CMake module, which has the function `onnxq_quantize` (docs/build-systems.md).

**Example**

    cmake -B build -D onnxq_DIR="$(onnxq cmake-dir)"
"""


def cmake_dir() -> None:
    from pathlib import Path

    import onnxq

    typer.echo((Path(onnxq.__file__).parent / "cmake").as_posix())


cmake_dir.__doc__ = EXAMPLES
