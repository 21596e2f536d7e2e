"""The engines onnxq makes graphs for, by name."""

import importlib
from importlib.util import find_spec

from onnxq.backends.backend import Backend
from onnxq.errors import EngineMissing, RecipeError, unknown

BACKENDS = ("onnxruntime", "openvino", "tensorrt")


def backend_of(name: str) -> Backend:
    """The backend of that name. Raises RecipeError for a name that is none."""
    if name not in BACKENDS:
        raise RecipeError(unknown("backend", name, BACKENDS))
    found: Backend = importlib.import_module(f"onnxq.backends.{name}").BACKEND
    return found


def require(backend: Backend) -> None:
    """Raises EngineMissing, with the pip line, where no engine of the backend is installed."""
    if not any(find_spec(module) for module in backend.modules):
        raise EngineMissing(backend.title, backend.extra)
