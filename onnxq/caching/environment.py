"""What a result depends on that is no input: onnxq's own code, the packages that do the work, and the machine.

Found by reading names of folders, since ``importlib.metadata`` parses every file that it reads a version from.
"""

import os
import re
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

PACKAGES = frozenset(
    {
        *("highspy", "numpy", "onnx", "onnx-graphsurgeon", "onnxruntime", "onnxruntime-gpu", "openvino", "pillow"),
        *("polygraphy", "pycocotools", "pydantic", "pyyaml", "tensorrt", "tensorrt-rtx"),
    }
)
METADATA = re.compile(r"(.+?)-([^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info")
OWN = Path(__file__).resolve().parents[1]
CPU_BYTES = 8192  # of what /proc tells: the first core


@cache
def environment() -> list[object]:
    """A value that differs where a run might come out otherwise."""
    return [own_code(), packages(), [*sys.version_info[:2]], machine()]


def own_code() -> str:
    """A word for every file of onnxq's code: a working copy changes, and its version does not."""
    found = sha256()
    for folder, folders, names in os.walk(OWN, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if name.endswith((".py", ".yaml", ".json")):
                path = os.path.join(folder, name)  # noqa: PTH118 - hundreds of files, and pathlib takes as long as reading
                with open(path, "rb") as file:  # noqa: PTH123
                    found.update(f"{path[len(str(OWN)) :]}\n".encode() + sha256(file.read()).digest())
    return found.hexdigest()


def packages() -> dict[str, str]:
    """Versions, of the first of each name on the path that Python searches."""
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - as above
        except OSError:
            continue
        for name in sorted(names):
            match = METADATA.fullmatch(name)
            if match and (package := re.sub(r"[-_.]+", "-", match[1]).lower()) in PACKAGES:
                found.setdefault(package, match[2])
    return dict(sorted(found.items()))


def machine() -> str:
    """A word for its processors: which kernels engines choose, and whether weights need 7 bits, hangs on them."""
    found = [sys.platform, *_processors()]
    return sha256("\n".join(found).encode()).hexdigest()


def _processors() -> list[str]:
    if sys.platform != "linux":
        import platform

        return [platform.machine(), platform.processor()]
    else:  # noqa: RET505 - for mypy, which looks at one platform
        cpu, gpu = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia")
        with cpu.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(CPU_BYTES).splitlines()
        told = [line for line in lines if line.split("\t")[0] in ("model name", "flags", "Features", "CPU part")]
        drivers = sorted([gpu / "version", *gpu.glob("gpus/*/information")])
        return told + [path.read_text(encoding="utf-8", errors="replace") for path in drivers if path.is_file()]
