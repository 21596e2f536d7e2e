"""``script.py:function``: the user's own code, of data or of a metric, run only when it is given in this form."""

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxq.data.sources import Calls, Fed
from onnxq.errors import DataError, OnnxqError, unknown


def is_script(source: str) -> bool:
    """Whether ``source`` has the form ``script.py:function``."""
    path, _, name = source.rpartition(":")
    return path.endswith(".py") and name.isidentifier()


def script_source(source: str) -> Calls:
    """The function of a script as a source; its module is loaded now, the function called at each reading.

    Raises DataError when there is no such file or function, or when the code fails.
    """
    function: Callable[[], Iterable[Fed]] = script_function(source)

    def feeds() -> Iterator[Fed]:
        with failing(source):
            yield from function()

    return Calls(source, feeds)


def script_function(source: str) -> Callable[..., Any]:
    """The function of a script, whose module is loaded now.

    Raises DataError when there is no such file or function, or when the code fails.
    """
    name = source.rpartition(":")[2]
    path = Path(source.rpartition(":")[0])
    if not path.is_file():
        raise DataError(f"{path}: no such script. Give it as path/to/script.py:function.")
    spec = importlib.util.spec_from_file_location(f"onnxq_script_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path}: is not a Python script. Give it as path/to/script.py:function.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look their module up there
    with failing(str(path)):
        spec.loader.exec_module(module)
    functions = {key: value for key, value in vars(module).items() if callable(value)}
    if name not in functions:
        raise DataError(f"{path}: " + unknown("function", name, functions))
    found: Callable[..., Any] = functions[name]
    return found


@contextmanager
def failing(where: str) -> Iterator[None]:
    """Say where in the user's code an error arose; that code may raise anything."""
    try:
        yield
    except OnnxqError:
        raise
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}"
        raise DataError(f"{where}: failed with {said} ({Path(at.filename).name}, line {at.lineno}).") from error
