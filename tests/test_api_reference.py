"""`make docs` writes a reference that has every public name, what is said of it, and no dead link."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

import onnxq

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    words = [sys.executable, "-W", "error", str(ROOT / "docs/api.py"), str(folder)]
    # Of a checkout that is not installed, too: the script stands in docs/, and so does the folder Python looks in.
    path = os.pathsep.join([str(Path(onnxq.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_every_public_name_is_there_with_what_is_said_of_it(reference: Path) -> None:
    page = (reference / "onnxq.html").read_text(encoding="utf-8")
    sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', page, re.S))
    assert set(onnxq.__all__) <= set(sections)
    assert [name for name in onnxq.__all__ if '<div class="docstring">' not in sections[name]] == []


def test_every_link_leads_somewhere(reference: Path) -> None:
    script = re.compile(r"<script.*?</script>", re.S)
    pages = {path.resolve(): script.sub("", path.read_text(encoding="utf-8")) for path in reference.rglob("*.html")}
    dead = set()
    for path, page in pages.items():
        for link in set(re.findall(r'href="([^"]+)"', page)):
            file, _, anchor = unescape(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            if "://" not in link and (target not in pages or (anchor and f'id="{anchor}"' not in pages[target])):
                dead.add(f"{path.name}: {link}")
    assert len(pages) > 10 and dead == set()


def test_the_first_page_leads_to_every_other(reference: Path) -> None:
    page = (reference / "index.html").read_text(encoding="utf-8")
    others = {path.relative_to(reference).as_posix() for path in reference.rglob("*.html")} - {"index.html"}
    assert set(re.findall(r'href="([^"]+)"', page)) == others


def test_no_public_function_is_without_a_word() -> None:
    assert [name for name in onnxq.__all__ if not (getattr(onnxq, name).__doc__ or "").strip()] == []
