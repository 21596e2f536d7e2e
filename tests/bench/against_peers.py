"""Whole calls of onnxq and of its peers with the same calibrator: seconds and memory, in turns, each in a process of
its own that has imported everything before; and what their graphs are worth on test data.

    python tests/bench/against_peers.py [MODEL ...] [CALIBRATOR ...]

onnxq is asked twice, for its default recipe and for a plain one that does what its peers do, and is to be 3 times as
fast as onnxruntime's quantizer, NNCF and AIMET-ONNX, and faster than onnxsim.
"""

import random
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import onnx

from corpus import CORPUS, MISSING, SAMPLES, TASKS, feeds, path_of
from engine_speed import ratio
from figures import figures
from onnxq.inputs import batch_axis, input_specs
from onnxq.model import load_model
from peer_flows import ONNXQ, PEERS, PLAIN, ours
from peers import preprocessed
from quantizers import PeerError, Running, Task, Took, installed, running, say_missing
from table import table

MODELS = ("resnet20", "mobilenetv2_cifar10", "yolox_nano")
WARM_UP = 16  # samples of a first call, which imports what is imported late
SECONDS, LEAST_ROUNDS = 30.0, 3
LIMIT = 600.0
WANTED = {"onnxruntime": 3.0, "nncf": 3.0, "aimet_onnx": 3.0, "onnxsim": 1.0}
COLUMNS = ("quantizer", "calibrator", "seconds", "/ onnxq", "/ plain", "peak MB", "score", "lost", "SQNR dB", "verdict")


@dataclass
class Entrant:
    """A quantizer at work, what its calls took, and why it is ``out`` of the race if it is."""

    running: Running
    task: Task
    graph: Path
    calls: list[Took] = field(default_factory=list)
    refused: str = ""

    @property
    def label(self) -> str:
        return self.running.quantizer.label

    def call(self, count: int | None = None) -> None:
        try:
            took = self.running(self.task, self.graph, count, LIMIT)
        except PeerError as error:
            self.refused = str(error)
        else:
            self.calls += [took] if count is None else []


def rows(name: str, calibrators: Collection[str] = tuple(PEERS)) -> Iterator[list[object]]:
    task = TASKS[name]
    batches = batch_axis(input_specs(load_model(path_of(name)))).fixed is None
    with feeds(task, SAMPLES[task]) as samples, preprocessed(onnx.load(path_of(name))) as prepared:
        for calibrator, peers in PEERS.items():
            if calibrator not in calibrators:
                continue
            with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
                entrants: list[Entrant] = []
                for one in (*ours(calibrator), *installed(peers)):
                    task_of_one = Task(path_of(name) if one.package == "onnxq" else prepared, samples, batches)
                    graph = Path(folder) / f"{len(entrants)}.onnx"
                    entrants.append(Entrant(stack.enter_context(running(one)), task_of_one, graph))
                race(entrants)
                yield from _told(name, calibrator, entrants)


def race(entrants: Sequence[Entrant]) -> None:
    """Rounds in which each is called once, in an order drawn anew."""
    for entrant in entrants:
        entrant.call(WARM_UP)
    shuffle, end, rounds = random.Random(0).shuffle, time.perf_counter() + SECONDS, 0
    while rounds < LEAST_ROUNDS or time.perf_counter() < end:
        still = [entrant for entrant in entrants if not entrant.refused]
        shuffle(still)
        for entrant in still:
            entrant.call()
        rounds += 1


def _told(name: str, calibrator: str, entrants: Sequence[Entrant]) -> Iterator[list[object]]:
    times = {entrant.label: [call.seconds for call in entrant.calls] for entrant in entrants if not entrant.refused}
    for entrant in entrants:
        if entrant.refused:
            yield [entrant.label, calibrator, *["-"] * 7, f"REFUSED: {entrant.refused}"]
            continue
        ratios = {our: ratio(times, entrant.label, our) for our in (ONNXQ, PLAIN)}
        found = figures(name, onnx.load(entrant.graph))
        seconds, mb = median(times[entrant.label]), max(call.mb for call in entrant.calls)
        said = "" if entrant.label in (ONNXQ, PLAIN) else verdict(entrant.running.quantizer.package, ratios)
        yield [entrant.label, calibrator, seconds, *ratios.values(), mb, found.score, found.lost, found.sqnr_db, said]


def verdict(package: str, ratios: Mapping[str, float]) -> str:
    """How many times as long the peer is to take as onnxq, with the one recipe and the other."""
    wanted = WANTED[package]
    if ratios[ONNXQ] >= wanted:
        return "ok"
    return "ok for the plain recipe" if ratios[PLAIN] >= wanted else f"MISSED: wanted {wanted:.0f}"


if __name__ == "__main__":
    if CORPUS:
        say_missing([one for peers in PEERS.values() for one in peers])
        calibrators = [word for word in sys.argv[1:] if word in PEERS] or list(PEERS)
        for model in [word for word in sys.argv[1:] if word not in PEERS] or MODELS:
            title = f"{model}: whole calls beside those of peers, with the same calibrator"
            table(title, COLUMNS, rows(model, calibrators))
    else:
        print(MISSING)
