"""Whatever README.md and docs/ tell a reader to run is run here, and ends well."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onnxq.recipe import load_recipe
from onnxq.validation import parse_yaml

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.M)
SKIPPED = "# not run:"
MAKE = re.compile(r"make( +[a-z]+)?$")


@dataclass(frozen=True)
class Block:
    """A fenced block: what language, where it starts, and its text."""

    language: str
    where: str
    text: str

    @property
    def run(self) -> bool:
        return not self.text.lstrip().startswith(SKIPPED)


def blocks(path: Path) -> list[Block]:
    text = path.read_text()
    return [
        Block(match[1], f"{path.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}", match[2])
        for match in BLOCK.finditer(text)
    ]


ALL = [block for path in DOCUMENTS for block in blocks(path)]


def written(*languages: str) -> list[object]:
    return [pytest.param(block, id=block.where) for block in ALL if block.language in languages and block.run]


def left_to_ci(line: str) -> bool:
    """``make`` and ``pip install`` would run this very test again, or need a network; .ci/run does them."""
    words = line.split("#")[0].strip()
    return bool(MAKE.match(words)) or words.startswith(("pip install ", "python -m pip install "))


def run(command: list[str], folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("block", written("sh", "bash", "shell", "console"))
def test_commands(block: Block, tmp_path: Path) -> None:
    lines = [line for line in block.text.splitlines() if not left_to_ci(line)]
    (tmp_path / "models").symlink_to(ROOT / "models")
    run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], tmp_path)


@pytest.mark.parametrize("block", written("python", "py"))
def test_python(block: Block, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(block.text)
    run([sys.executable, "-W", "error::SyntaxWarning", "block.py"], tmp_path)


@pytest.mark.parametrize("block", written("yaml"))
def test_recipes(block: Block) -> None:
    value = parse_yaml(block.text, block.where)
    if "passes" in value or "extends" in value:
        assert load_recipe(value).passes


def test_there_is_something_to_run() -> None:
    assert len(written("sh")) >= 2
    assert len(written("python")) >= 1
    assert {block.language for block in ALL} <= {"sh", "python", "yaml", "makefile", "cmake", "ninja", "text", ""}


def test_every_make_target_named_is_there_and_in_ci() -> None:
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci/run").read_text()
    named = {match for path in DOCUMENTS for match in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.M)}
    assert {"demo", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.M), f"make {target} is no target of the Makefile"
    assert {"demo", "test"} <= set(re.findall(r"^make ([a-z]+)", ci, re.M))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link, anchor in LINK.findall(prose(path)):
        target = path.parent / link if link else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), f"{link}#{anchor}"


def prose(path: Path) -> str:
    """Without what is fenced."""
    return BLOCK.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub makes them: lower case, hyphens for spaces, no other punctuation."""
    texts = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in HEADING.findall(prose(path)))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs/README.md"
    led_to = {(index.parent / link).resolve() for link, _ in LINK.findall(prose(index)) if link}
    assert set(DOCUMENTS) - {index} <= led_to


def test_every_option_named_is_one() -> None:
    import typer.main

    from onnxq.cli.main import app

    for block in ALL:
        for line in block.text.replace("\\\n", " ").splitlines():
            if block.language == "sh" and re.match(r"onnxq [a-z]", line):
                command: Any = typer.main.get_command(app)
                for word in line.split()[1:3]:  # of a group the second
                    command = getattr(command, "commands", {}).get(word, command)
                known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
                assert set(re.findall(r"(?<= )--?[a-z][a-z0-9-]*", line)) <= known, block.where
