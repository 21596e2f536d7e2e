"""What is built installs whole, from a wheel, an sdist and a folder, and adds one name to site-packages."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OWN = (
    "backends",
    "backends/targets",
    "biases",
    "caching",
    "checking",
    "cluster",
    "comparing",
    "data",
    "diagnosing",
    "evaluating",
    "html",
    "inspection",
    "lifting",
    "lint",
    "metrics",
    "planning",
    "provenance",
    "ranges",
    "recipes",
    "retargeting",
    "solving",
    "tuning",
)
FOLDERS = (*OWN, "calibrators", "cli", "models", "passes")
PACKAGES = {"onnxq", *(f"onnxq/{name}" for name in FOLDERS)}
CARDS = ("digits_mobilenet", "digits_transformer", "shapes_detector")
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Distribution:
    """A copy of the project, what was built of it, and the environment variables with which it builds."""

    environment: dict[str, str]
    source: Path
    sdist: Path
    wheel: Path


def run(*words: object, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def copy_of_the_project(to: Path) -> Path:
    """The project as a clone has it: without what tools leave behind."""
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", ".hypothesis", "build", "dist", "out", "*.egg-info", "__pycache__"
    )
    return Path(shutil.copytree(ROOT, to, symlinks=True, ignore=ignored))


def without_links(source: Path) -> Path:
    """The project as git has it on Windows: a link is a file with the path it leads to."""
    for link in [path for path in (source / "onnxq").iterdir() if path.is_symlink()]:
        target = link.readlink()
        link.unlink()
        link.write_text(str(target))
    return source


def build_system(folder: Path) -> dict[str, str]:
    """Where the build system is, fetched once if it is not here: every build of its own would fetch it again."""
    if int(version("setuptools").partition(".")[0]) >= 77:
        return {}
    words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", folder]
    run(sys.executable, *words, *PROJECT["build-system"]["requires"], folder=folder.parent)
    return {"PYTHONPATH": str(folder)}


def build(source: Path, out: Path, environment: dict[str, str], *what: str) -> Path:
    words = ["-m", "build", "--no-isolation", *what, "--outdir", out]
    run(sys.executable, *words, source, folder=source, **environment)
    return out


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    folder = tmp_path_factory.mktemp("distribution")
    source = copy_of_the_project(folder / "project")
    environment = build_system(folder / "tools")
    out = build(source, folder / "dist", environment)  # the wheel is made from the sdist, not from the folder
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Distribution(environment, source, sdist, wheel)


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_package_and_nothing_else(built: Distribution) -> None:
    held = names(built.wheel)
    assert {name.partition("/")[0] for name in held} == {"onnxq"}
    assert {str(Path(name).parent) for name in held if name.endswith(".py")} == PACKAGES | {
        f"onnxq/models/{card}" for card in CARDS
    }
    mapped = ("calibrators", "cli", "models", "passes")
    wanted = {f"onnxq/{path.name}" for path in (ROOT / "onnxq").glob("*.py")}
    for folder in OWN:
        wanted |= {f"onnxq/{folder}/{path.name}" for path in (ROOT / "onnxq" / folder).glob("*.py")}
    wanted |= {f"onnxq/{folder}/{path.name}" for folder in mapped for path in (ROOT / folder).glob("*.py")}
    wanted |= {f"onnxq/models/{card}/{path.name}" for card in CARDS for path in (ROOT / "models" / card).glob("*.*")}
    data = {"py.typed", "html/style.css", "html/sort.js", "recipes/recipe.schema.json", "cmake/onnxq-config.cmake"}
    assert held == wanted | {f"onnxq/{name}" for name in data}


def test_the_wheel_is_pure_python(built: Distribution) -> None:
    assert built.wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(built.wheel) as archive:
        (said,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
        assert "Root-Is-Purelib: true" in said
        assert not any(name.endswith((".so", ".pyd", ".dylib", ".dll")) for name in archive.namelist())


def test_the_wheel_is_small(built: Distribution) -> None:
    assert built.wheel.stat().st_size < 4_000_000


def test_the_sdist_has_what_it_takes_to_test_and_to_read(built: Distribution) -> None:
    with tarfile.open(built.sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive.getmembers() if not member.isdir()}
    tests = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py")}
    docs = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*") if path.is_file()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "pyproject.toml"} <= held
    assert tests | docs <= held
    assert {f"models/{card}/card.yaml" for card in CARDS} <= held
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in held)


def virtual_environment(folder: Path, environment: dict[str, str], install: Sequence[object]) -> Path:
    """A fresh environment with onnxq installed, that finds onnxq's dependencies in the running one."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    python = folder / "bin/python"
    words = ["pip", "--python", python, "install", "--quiet", "--no-deps", "--no-build-isolation"]
    run(sys.executable, "-m", *words, "--disable-pip-version-check", *install, folder=folder.parent, **environment)
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    # Written after pip ran, which would take the onnxq of the running environment for its own.
    (Path(purelib) / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


ASK = """
import importlib.resources, importlib.util
import onnxq.passes
print(onnxq.passes.__file__)
print(importlib.resources.files("onnxq").joinpath("py.typed").is_file())
print([name for name in ("passes", "calibrators", "cli", "models") if importlib.util.find_spec(name)])
"""


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable", "without links"])
def test_it_installs_and_quantizes_anywhere(built: Distribution, kind: str, tmp_path: Path) -> None:
    source = built.source if kind != "without links" else without_links(copy_of_the_project(tmp_path / "project"))
    what: dict[str, list[object]] = {"wheel": [built.wheel], "sdist": [built.sdist]}
    bin_folder = virtual_environment(tmp_path / "venv", built.environment, what.get(kind, ["-e", source]))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where, typed, alone = run(bin_folder / "python", "-c", ASK, folder=elsewhere).splitlines()
    home = tmp_path / "venv" if kind in what else source
    assert Path(where).is_relative_to(home)
    assert typed == "True"
    assert alone == "[]"
    run(bin_folder / "onnxq", "quantize", CARDS[0], "--backend", "onnxruntime", folder=elsewhere)
    assert [path.name for path in elsewhere.iterdir()] == [f"{CARDS[0]}.onnxruntime.onnx"]


def test_a_clone_without_links_builds_the_same_wheel(built: Distribution, tmp_path: Path) -> None:
    source = without_links(copy_of_the_project(tmp_path / "project"))
    out = build(source, tmp_path / "dist", built.environment, "--wheel")
    (wheel,) = out.glob("*.whl")
    assert names(wheel) == names(built.wheel)
