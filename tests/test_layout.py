"""The repository is laid out as its tools expect: real folders at the top, one package in every eye."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
MAPPED: dict[str, str] = SETUPTOOLS["package-dir"]
NOT_OURS = {"build", "dist", "out", ".venv", ".git", "node_modules"}


def files(*suffixes: str) -> Iterator[Path]:
    """Every text file of the project with one of the suffixes, links not followed."""
    for here, folders, names in os.walk(ROOT):
        folder = Path(here)
        folders[:] = sorted(
            name
            for name in folders
            if name not in NOT_OURS
            and not (folder / name).is_symlink()
            and not (name.startswith(".") and name != ".ci")
            and not name.endswith((".egg-info", "__pycache__"))
        )
        yield from (folder / name for name in names if name.endswith(suffixes))


def test_every_package_is_named_and_maps_to_its_folder() -> None:
    found = {path.parent.relative_to(ROOT) for path in files("__init__.py")}
    names = {"onnxq" if folder == Path("onnxq") else package(folder): folder for folder in found}
    assert sorted(names) == sorted(SETUPTOOLS["packages"])
    outside = {name: str(folder) for name, folder in names.items() if folder.parts[0] != "onnxq"}
    assert outside == MAPPED


def package(folder: Path) -> str:
    return ".".join(folder.parts if folder.parts[0] == "onnxq" else ("onnxq", *folder.parts))


@pytest.mark.parametrize("name", MAPPED)
def test_every_mapped_folder_is_linked(name: str) -> None:
    link = ROOT / name.replace(".", "/")
    assert link.is_symlink()
    assert link.readlink() == Path("..") / MAPPED[name]
    assert link.resolve() == ROOT / MAPPED[name]


def test_links_are_committed_as_links() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(["git", "ls-files", "-s", "onnxq"], cwd=ROOT, check=True, capture_output=True, text=True)
    modes = {line.split("\t")[1]: line.split()[0] for line in listed.stdout.splitlines()}
    links = {path for path, mode in modes.items() if mode == "120000"}
    assert links == {name.replace(".", "/") for name in MAPPED}


def test_tests_are_no_package_and_share_no_root_conftest() -> None:
    assert not (ROOT / "conftest.py").exists()
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    assert PROJECT["tool"]["mypy"]["explicit_package_bases"] is True  # or two tests of one name are one to mypy


def test_a_test_stands_where_the_code_stands() -> None:
    tests = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/test_*.py")}
    assert tests == {"onnxq", *(path.parent.name for path in (ROOT / "onnxq").glob("*/__init__.py"))}


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("import passes", "TID251"),
        ("from calibrators import mse", "TID251"),
        ("from cli.main import main", "TID251"),
        ("import models.card", "TID251"),
        ("from . import scheme", "TID252"),
        ("from onnxq.passes import plan", ""),
    ],
)
def test_ruff_bans_imports_by_the_wrong_name(line: str, rule: str) -> None:
    words = [sys.executable, "-m", "ruff", "check", "--quiet", "--select", "TID", "--output-format", "concise"]
    checked = subprocess.run(
        [*words, "--stdin-filename", "onnxq/snippet.py", "-"],
        cwd=ROOT,
        input=f"{line}\n",
        capture_output=True,
        text=True,
    )
    assert checked.returncode == bool(rule), checked.stderr
    assert rule in checked.stdout


def test_every_banned_name_is_a_mapped_folder() -> None:
    banned = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == set(MAPPED.values())


MACHINE = re.compile(r"(?<![\w.])/(work|home|root|Users|tmp|mnt|opt|scratch)/\w")


def test_no_file_names_a_place_on_one_machine() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in (
            *files(".py", ".md", ".toml", ".yaml", ".yml", ".svg", ".in", "Makefile"),
            *(ROOT / ".ci").iterdir(),
        )
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MACHINE.search(line)
    }
    assert found == set()


def test_files_are_short_enough_to_be_read() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in files(".py")
        if path.relative_to(ROOT).parts[0] != "tests" and path.name != "make.py"
    }
    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}
