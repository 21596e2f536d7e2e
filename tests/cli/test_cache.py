"""``onnxq quantize`` as a step of a build: what the cache has is not made again, and only then."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxq.testing import normal

Command = Callable[..., "subprocess.CompletedProcess[str]"]
RUN = ("quantize", "tiny.onnx", "--data", "data.npz", "--cache", "cache", "--no-build")
CACHED = "Taken from the cache"
LIGHT = "onnxruntime|openvino|onnx_graphsurgeon|onnx|numpy|pydantic|typer|rich|yaml"


def made(run: "subprocess.CompletedProcess[str]") -> bool:
    """Whether it was made, not taken from the cache."""
    assert run.returncode == 0, run.stderr
    return CACHED not in run.stdout


def test_the_second_run_takes_what_the_first_made(command: Command, folder: Path) -> None:
    options = ("-o", "a.onnx", "--json", "a.json", "--report", "a.txt", "--ranges-out", "a.cache")
    assert made(command(*RUN, *options))
    first = {path.name: path.read_bytes() for path in folder.glob("a.*")}
    assert set(first) == {"a.onnx", "a.json", "a.txt", "a.cache"}
    for name in first:
        (folder / name).unlink()
    again = command(*RUN, *options)
    assert not made(again)
    assert "calibrated on data.npz, 8 samples" in again.stdout
    assert {path.name: path.read_bytes() for path in folder.glob("a.*")} == first


def test_places_do_not_matter_to_graphs(command: Command, folder: Path) -> None:
    assert made(command(*RUN, "-o", "a.onnx"))
    (folder / "tiny.onnx").rename(folder / "other.onnx")
    assert not made(command("quantize", "other.onnx", *RUN[2:], "-o", "out/b.onnx"))
    assert (folder / "out/b.onnx").read_bytes() == (folder / "a.onnx").read_bytes()
    assert made(command("quantize", "other.onnx", *RUN[2:], "-o", "out/b.onnx", "--json", "b.json"))
    assert json.loads((folder / "b.json").read_text())["model"] == "other.onnx"


@pytest.mark.parametrize("change", ["model", "data", "option"])
def test_what_has_changed_is_made_again(command: Command, folder: Path, change: str) -> None:
    assert made(command(*RUN))
    more: tuple[str, ...] = ()
    if change == "model":
        model = onnx.load(folder / "tiny.onnx")
        model.graph.initializer[0].raw_data = normal(4, 3, 3, 3, seed=9).tobytes()
        onnx.save(model, folder / "tiny.onnx")
    elif change == "data":
        np.savez(folder / "data.npz", x=normal(8, 3, 8, 8, seed=7))
    else:
        more = ("--weight-bits", "4")
    assert made(command(*RUN, *more))
    assert not made(command(*RUN, *more))


def test_external_data_and_extended_recipes_count(command: Command, folder: Path) -> None:
    onnx.save(
        onnx.load(folder / "tiny.onnx"), folder / "big.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    (folder / "base.yaml").write_text("extends: default\npasses:\n  - round_weights: {bits: 8}\n")
    (folder / "mine.yaml").write_text("extends: base.yaml\n")
    run = ("quantize", "big.onnx", *RUN[2:], "--recipe", "mine.yaml", "--depfile", "out.d")
    assert made(command(*run))
    text = (folder / "out.d").read_text()
    named = re.findall(r"^(\S+):$", text, re.M)
    assert {Path(name).name for name in named} == {"big.onnx", "w", "data.npz", "mine.yaml", "base.yaml"}
    (folder / "out.d").unlink()
    assert not made(command(*run))
    assert (folder / "out.d").read_text() == text
    (folder / "base.yaml").write_text("extends: default\npasses:\n  - round_weights: {bits: 6}\n")
    assert made(command(*run))
    weights = bytearray((folder / "w").read_bytes())
    weights[3] ^= 0x80
    (folder / "w").write_bytes(weights)
    assert made(command(*run))
    assert not made(command(*run))


def test_samples_of_a_script_count_not_its_name(command: Command, folder: Path) -> None:
    script = "import numpy as np\ndef f():\n    return [{{'x': np.load('n.npy')[i:i + 1]}} for i in range({n})]\n"
    np.save(folder / "n.npy", normal(8, 3, 8, 8, seed=2))
    (folder / "feeds.py").write_text(script.format(n=4))
    run = ("quantize", "tiny.onnx", "--data", "feeds.py:f", *RUN[4:])
    assert made(command(*run))
    assert not made(command(*run))
    np.save(folder / "n.npy", normal(8, 3, 8, 8, seed=3))  # which no key could name
    assert made(command(*run))


def test_statistics_serve_other_options(command: Command, folder: Path) -> None:
    assert made(command(*RUN))
    said = command(*RUN, "--calibrator", "minmax", "--dry-run").stdout
    assert re.search(r"calibrate: data.npz, 8 samples; [1-9]\d* tensors were measured before", said)
    command(*RUN, "--calibrator", "minmax", "-o", "kept.onnx")
    command("quantize", "tiny.onnx", "--data", "data.npz", "--no-build", "--calibrator", "minmax", "-o", "fresh.onnx")
    assert (folder / "kept.onnx").read_bytes() == (folder / "fresh.onnx").read_bytes()


def test_a_dry_run_does_nothing(command: Command, folder: Path) -> None:
    before = sorted(folder.iterdir())
    said = command(*RUN, "--dry-run", "--json", "facts.json").stdout
    assert sorted(folder.iterdir()) == before
    for words in ("tiny.onnx", "data.npz", "prepare: fold_constants", "round_weights", "facts.json"):
        assert words in said
    assert "tiny.onnxruntime.onnx" in said
    assert made(command(*RUN))
    assert "nothing: it is in the cache" in command(*RUN, "--dry-run").stdout


def test_code_of_others_is_run_again(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from onnxq.calibrators import MinMax\nclass Mine(MinMax):\n    pass\n"
    (folder / "my_own_calibrator.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    run = (*RUN, "--calibrator", "my_own_calibrator:Mine")
    assert (
        "not kept in the cache: the recipe runs code that is not onnxq's, my_own_calibrator:Mine"
        in command(*run).stderr
    )
    assert made(command(*run))


@pytest.mark.parametrize("name", ["graphs", "reports", "inputs", "commands", "statistics"])
def test_a_damaged_cache_costs_time_alone(command: Command, folder: Path, name: str) -> None:
    assert made(command(*RUN, "-o", "a.onnx"))
    good = (folder / "a.onnx").read_bytes()
    for path in (folder / "cache/v1" / name).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-3] + b"???")
    run = command(*RUN, "-o", "a.onnx")
    assert run.returncode == 0, run.stderr
    assert (folder / "a.onnx").read_bytes() == good
    assert not made(command(*RUN, "-o", "a.onnx"))


def test_the_size_is_bounded(command: Command, folder: Path) -> None:
    for bits in (4, 5, 6):
        command(*RUN, "--weight-bits", bits, "--cache-size", "30K")
    assert sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file()) < 31_000
    assert command(*RUN, "--cache-size", "lots").returncode == 2


def test_show_and_clear(command: Command, folder: Path) -> None:
    command(*RUN)
    assert re.search(r"^graphs +1 +[\d.]+ KB, used last 20", command("cache", "show", "cache").stdout, re.M)
    assert re.fullmatch(r"cache: \d+ entries removed\n", command("cache", "clear", "cache").stdout)
    assert made(command(*RUN))
    for name in ("clear", "show"):
        refused = command("cache", name, ".")
        assert (refused.returncode, "is no cache of onnxq" in refused.stderr) == (2, True)
    assert (folder / "tiny.onnx").exists()


def test_two_builds_at_once_do_the_work_once(folder: Path) -> None:
    words = [sys.executable, "-m", "onnxq", *RUN]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sum(CACHED in text for text in said) == 1


def test_a_cache_without_room_does_not_stop_a_build(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, to: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("onnxq.caching.store._copied", full)
    run = command(*RUN, "-o", "a.onnx")
    assert run.returncode == 0, run.stderr
    assert "The graphs are not kept in the cache: cache: cannot keep what was made: No space left" in run.stderr
    assert (folder / "a.onnx").exists()


def test_gates_stop_a_build(command: Command, folder: Path) -> None:
    run = ("quantize", "digits_mobilenet", "--cache", "cache", "-o", "a.onnx", "-q")
    (folder / "a.onnx").write_text("of an earlier build")
    stopped = command(*run, "--max-drop", "-1")
    assert stopped.returncode == 1
    assert re.search(
        r"FAILED: onnxruntime: top1: [\d.]+ % become [\d.]+, \S+ lost of at most -1 \(--max-drop\)", stopped.stderr
    )
    assert not (folder / "a.onnx").exists()
    assert command(*run, "--max-drop", "-1").returncode == 1  # from the cache
    assert not (folder / "a.onnx").exists()
    assert command(*run, "--max-drop", "2", "--min-int8", "1").returncode == 0
    assert (folder / "a.onnx").exists()
    stopped = command(*run, "--keep-float", "Conv", "--min-int8", "0.9", "--json", "why.json")
    assert stopped.returncode == 1
    assert re.search(r"onnxruntime: [\d.]+ % of the MACs are INT8; 90 % wanted \(--min-int8\)", stopped.stderr)
    assert not (folder / "a.onnx").exists()
    assert (folder / "why.json").exists()


def test_gates_that_nothing_can_reach_are_said(command: Command) -> None:
    assert command(*RUN, "--max-drop", "1").returncode == 2
    without = command("quantize", "tiny.onnx", "--data", "data.npz", "--max-drop", "1")
    assert without.returncode == 2
    assert "give a card that has a metric" in without.stderr


def test_what_is_cached_needs_no_library(folder: Path) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "onnxq", *RUN, "-q"]
    runs = [subprocess.run(words, capture_output=True, text=True, check=True).stderr for _ in range(2)]
    whole, light = ({line.rpartition("|")[2].strip() for line in run.splitlines()} for run in runs)
    assert "onnxruntime" in whole
    assert sorted(name for name in light if re.fullmatch(LIGHT, name)) == []


def test_cmake_dir_has_the_module(command: Command) -> None:
    assert (Path(command("cmake-dir").stdout.strip()) / "onnxq-config.cmake").is_file()
