"""Weights of few bits beside activations of 8: what onnxq's default recipe reaches with `--weight-bits`, beside GPTQ
and AdaRound of its peers on the same model, samples and bits, judged on test data.

    python tests/bench/low_bits.py [--alone] [--recipe FILE] [MODEL ...]

--alone: without peers, which take minutes to an hour each; --recipe: instead of the default recipe, bits included. What
may be lost is in CASES; onnxq is to be no worse than any peer, in a twentieth of AdaRound's time.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import onnx

from corpus import CORPUS, MISSING, SAMPLES, TASKS, feeds, path_of
from end_layers import end_weights
from figures import Figures, figures, fp32
from onnxq import load_recipe
from onnxq.inputs import batch_axis, input_specs
from onnxq.model import load_model
from peers import preprocessed
from quantizers import PeerError, Quantizer, Task, installed, running, say_missing
from table import table

LIMIT = 3600.0
WARM_UP = 16  # samples of a first call, which imports what is imported late
AIMET, ITERATIONS = "aimet, adaround", (500, 2000)
FASTER = 20.0
COLUMNS = ("quantizer", "FP32", "score", "lost", "SQNR dB", "agree %", "seconds", "/ onnxq", "verdict")


@dataclass(frozen=True)
class Case:
    """Bits of all weights, or but for the first and the last layer's, and the points that may be lost. Of a detector
    with SiLUs onnxruntime must quantize between Conv and SiLU, at 8 bits too: its graph for OpenVINO tells of weights.
    """

    model: str
    bits: int
    allowed: float
    ends: int | None = None
    backend: str = "onnxruntime"

    @property
    def said(self) -> str:
        return f"W{self.bits}A8" + (f" ends {self.ends}" if self.ends else "") + f", for {self.backend}"


CASES = (
    Case("resnet20", 4, 0.5),
    Case("resnet20", 3, 1.5),
    Case("mobilenetv2_cifar10", 4, 1.0),
    Case("kws_dscnn", 4, 0.5),
    Case("vit_cifar10", 4, 1.0),
    Case("yolox_nano", 4, 2.0, ends=8, backend="openvino"),
)


def ours(case: Case, recipe: Path | None) -> Quantizer:
    if recipe is not None:
        return Quantizer("onnxq", "onnxq", {"recipe": str(recipe.resolve()), "backend": case.backend})
    if case.ends is None:
        return Quantizer("onnxq", "onnxq", {"weight_bits": case.bits, "backend": case.backend})
    passes = load_recipe("default").written()
    for name, options in (step for entry in passes for step in entry.items()):
        if name == "balance_activations":
            options["bits"] = case.bits
        if name == "round_weights":
            options["bits"] = {"default": case.bits, "first": case.ends, "last": case.ends}
    return Quantizer("onnxq", "onnxq", {"recipe": {"passes": passes}, "backend": case.backend})


def theirs(case: Case, model: onnx.ModelProto) -> list[Quantizer]:
    """AMD Quark is not among them: its weights have 8 bits or 16. GPTQ of onnxsim gives all layers the same."""
    eight = end_weights(model.graph) if case.ends else []
    asked = {"calibrator": "post_training_tf_enhanced", "bits": case.bits, "eight": eight}
    adaround = [
        Quantizer(f"{AIMET} {iterations}", "aimet_onnx", {**asked, "adaround": iterations}) for iterations in ITERATIONS
    ]
    return adaround if eight else [Quantizer("onnxsim, gptq", "onnxsim", {"bits": case.bits}), *adaround]


def rows(case: Case, recipe: Path | None, alone: bool) -> Iterator[list[object]]:
    source, task = path_of(case.model), TASKS[case.model]
    batches = batch_axis(input_specs(load_model(source))).fixed is None
    with (
        feeds(task, SAMPLES[task]) as samples,
        preprocessed(onnx.load(source)) as prepared,
        tempfile.TemporaryDirectory() as folder,
        running(ours(case, recipe)) as onnxq,
    ):
        out, ours_at, theirs_at = (
            Path(folder) / "graph.onnx",
            Task(source, samples, batches),
            Task(prepared, samples, batches),
        )
        try:
            onnxq(ours_at, out, WARM_UP)
            taken = [onnxq(ours_at, out).seconds]
        except PeerError as error:
            yield [onnxq.quantizer.label, fp32(case.model)[0], *["-"] * 6, f"REFUSED: {error}"]
            return
        mine = figures(case.model, onnx.load(out))
        said = "ok" if mine.lost <= case.allowed else f"MISSED: {case.allowed} may be lost"
        yield [onnxq.quantizer.label, *_cells(mine), taken[0], 1.0, said]
        for peer in [] if alone else installed(theirs(case, onnx.load(prepared))):
            with running(peer) as quantize:
                try:
                    seconds = quantize(theirs_at, out, limit=LIMIT).seconds
                except PeerError as error:
                    yield [peer.label, fp32(case.model)[0], *["-"] * 6, f"REFUSED: {error}"]
                    continue
            found = figures(case.model, onnx.load(out))
            taken.append(onnxq(ours_at, out).seconds)
            ratio = seconds / median(taken)
            yield [peer.label, *_cells(found), seconds, ratio, verdict(peer.label, mine, found, ratio)]


def _cells(found: Figures) -> list[object]:
    agree = "-" if found.agree is None else found.agree
    return [found.score + found.lost, found.score, found.lost, found.sqnr_db, agree]


def verdict(peer: str, ours: Figures, theirs: Figures, ratio: float) -> str:
    """onnxq is to be closer to FP32 than the peer, and 20 times as fast as AdaRound."""
    missed = []
    if ours.sqnr_db < theirs.sqnr_db:
        missed.append(f"{theirs.sqnr_db - ours.sqnr_db:.2f} dB behind")
    if ours.lost > theirs.lost:
        missed.append(f"{ours.lost - theirs.lost:.2f} points behind")
    if peer.startswith(AIMET) and ratio < FASTER:
        missed.append(f"{ratio:.1f} times as fast")
    return f"MISSED: {', '.join(missed)}" if missed else "ok"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("models", nargs="*")
    asked = parser.parse_args()
    wanted = [case for case in CASES if not asked.models or case.model in asked.models]
    if not asked.alone:
        say_missing(theirs(CASES[0], onnx.ModelProto()))
    for case in wanted:
        table(f"{case.model}, {case.said}", COLUMNS, rows(case, asked.recipe, asked.alone))


if __name__ == "__main__":
    if CORPUS:
        main()
    else:
        print(MISSING)
