"""``onnxq report`` draws later what ``--report`` draws at once."""

import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., "subprocess.CompletedProcess[str]"]
QUANTIZE = ("quantize", "tiny.onnx", "--data", "data.npz", "--no-build", "--json", "facts.json")


def test_the_page_is_the_same_later(folder: Path, command: Command) -> None:
    assert command(*QUANTIZE, "--report", "now.html", "-q").returncode == 0
    done = command("report", "facts.json", "-o", "later.html")
    assert (
        done.returncode == 0 and done.stdout == f"later.html: {(folder / 'later.html').stat().st_size / 1e3:.0f} kB\n"
    )
    assert (folder / "now.html").read_bytes() == (folder / "later.html").read_bytes()
    assert "<figure" in (folder / "now.html").read_text()


def test_what_is_no_facts_is_refused(folder: Path, command: Command) -> None:
    (folder / "other.json").write_text('{"a": 1}')
    for given, said in (("other.json", "no facts of onnxq"), ("none.json", "no such file"), ("tiny.onnx", "not")):
        done = command("report", given, "-o", "r.html")
        assert done.returncode == 2 and f"onnxq: {given}: " in done.stderr and said in done.stderr
        assert "Traceback" not in done.stderr and not (folder / "r.html").exists()


def test_the_page_ends_in_html_and_replaces_no_facts(folder: Path, command: Command) -> None:
    (folder / "facts.html").write_text("{}")
    assert "ends in .html" in command("report", "facts.html", "-o", "r.pdf").stderr
    assert "Choose another name" in command("report", "facts.html", "-o", "facts.html").stderr
