"""The engines onnxq makes graphs for, and further targets, by name."""

import importlib
import pkgutil
from importlib.util import find_spec

from onnxq import plugins
from onnxq.backends import targets
from onnxq.backends.backend import Backend
from onnxq.errors import EngineMissing, RecipeError, unknown

BACKENDS = ("onnxruntime", "openvino", "tensorrt", "portable")
"""Those with an engine, which is built and read back."""

TARGETS = tuple(sorted(module.name for module in pkgutil.iter_modules(targets.__path__)))
"""Those that are simulated, not built: one file of ``targets/`` each."""


def backend_names() -> tuple[str, ...]:
    """Every name ``backend_of`` knows, those that installed packages offer included."""
    return (*BACKENDS, *TARGETS, *plugins.offered("backend"))


def backend_of(name: str) -> Backend:
    """The backend of that name. Raises RecipeError for a name that is none, or a package that offers what is none."""
    own = (*BACKENDS, *TARGETS)
    if plugin := plugins.load("backend", name, own, _checked):
        return plugin
    if name not in own:
        raise RecipeError(unknown("backend", name, backend_names()))
    folder = "" if name in BACKENDS else ".targets"
    found: Backend = importlib.import_module(f"onnxq.backends{folder}.{name}").BACKEND
    return found


def _checked(name: str, found: object) -> Backend:
    if not isinstance(found, Backend):
        raise TypeError(f"it is a {type(found).__name__}, not an onnxq.backends.backend.Backend")
    if found.name != name:
        raise ValueError(f"it calls itself {found.name!r}")
    return found


def require(backend: Backend) -> None:
    """Raises EngineMissing, with the pip line, where no engine of the backend is installed."""
    if not backend.simulated and not any(find_spec(module) for module in backend.modules):
        raise EngineMissing(backend.title, backend.extra)
