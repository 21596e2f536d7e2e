"""Float rewrites keep the function: SQNR of the rewritten FP32 model against the model as it was, on test data, by the
folds alone and by all rewrites of the default recipe; and what their proof costs in a run.

    python tests/bench/rewrites.py [MODEL ...]

Folds must leave 90 dB, all rewrites 70. The proof may take 15 % of the time of calibration: of watching tensors and
of choosing their ranges, in the same run, for onnxruntime alone.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx

from corpus import CORPUS, MISSING, SAMPLES, TASKS, feeds, path_of
from figures import figures
from onnxq import Options, load_recipe, proof, quantize, stages
from onnxq.backends import backend_of
from onnxq.model import load_model, to_graph
from onnxq.passes import Calibrate
from onnxq.proof import Proof, rewrite_all
from onnxq.samples import input_specs, open_samples
from onnxq.workspace import FloatRewrite, Workspace
from stopwatch import Target, stopwatch
from table import table

FOLDS = ("fold_", "fuse_", "drop_")
LEAST_DB = {"folds": 90.0, "rewrites": 70.0}
MOST_PERCENT = 15.0
RUNS = 5  # of which the median counts: a small model takes a fifth of a second
TESTS = {"cifar10": 1000, "kws": 400, "coco": 16}
COLUMNS = (
    "model",
    "folds dB",
    "rewrites dB",
    "nodes",
    "after",
    "undone",
    "proof s",
    "calibrate s",
    "proof %",
    "verdict",
)


def rewrites(names: Sequence[str]) -> Iterator[list[object]]:
    for name in names:
        with feeds(TASKS[name], SAMPLES[TASKS[name]]) as data:
            steps = [step for step in load_recipe("default").passes if isinstance(step, FloatRewrite)]
            folds = rewritten(name, data, [step for step in steps if step.name.startswith(FOLDS)])
            whole = rewritten(name, data, steps)
            runs = [proof_seconds(path_of(name), data) for _ in range(RUNS)]
        n = TESTS[TASKS[name]]
        kept = {
            "folds": figures(name, folds.model(), n=n).sqnr_db,
            "rewrites": figures(name, whole.model(), n=n).sqnr_db,
        }
        seconds = sorted(runs, key=share)[RUNS // 2]
        undone = sum(entry.reason.startswith("undone") for entry in whole.ledger.of("declined"))
        nodes = len(whole.source.graph.node), len(whole.graph.nodes)
        yield [
            name,
            *kept.values(),
            *nodes,
            undone,
            seconds["proof"],
            seconds["calibrate"],
            share(seconds),
            verdict(kept, share(seconds)),
        ]


def rewritten(name: str, data: Path, steps: Sequence[FloatRewrite]) -> Workspace:
    """The model behind the passes, as they prove themselves."""
    source = load_model(path_of(name))
    samples = open_samples(data, input_specs(source))
    space = Workspace(to_graph(source), source, samples, backend_of("onnxruntime"))
    rewrite_all(space, steps, Proof(source, samples))
    return space


def proof_seconds(model: Path | onnx.ModelProto, data: object) -> Mapping[str, float]:
    """Of a run: what asks for the function before and after, and looks for the rewrites that changed it; beside it,
    what the passes take, and calibration."""
    passes: list[Target] = [(kind, "__call__", "passes") for kind in _float_rewrites()]
    proofs: list[Target] = [(proof.Proof, "__init__", "proof"), (stages, "rewrite_all", "proof")]
    proofs += [(module, "rewrite", "proof") for module in (stages, proof)]
    proofs += [(proof._Trial, "without_culprits", "search")]
    calibration: list[Target] = [(stages, "collect", "calibrate"), (Calibrate, "__call__", "calibrate")]
    with stopwatch([*passes, *proofs, *calibration], whole="search") as seconds:
        quantize(model, data, backend="onnxruntime", options=Options(build=False))  # type: ignore[arg-type]
    return {
        "proof": seconds["proof"] + seconds["search"],
        "calibrate": seconds["calibrate"],
        "passes": seconds["passes"],
    }


def share(seconds: Mapping[str, float]) -> float:
    """The proof's, in percent of calibration."""
    return 100 * seconds["proof"] / seconds["calibrate"]


def _float_rewrites() -> list[type]:
    steps = [*load_recipe("default").passes, *backend_of("onnxruntime").preparation]
    return list(
        {type(step) for step in (*steps, *backend_of("onnxruntime").lowering) if isinstance(step, FloatRewrite)}
    )


def verdict(kept: Mapping[str, float], percent: float) -> str:
    missed = [f"{what} {kept[what]:.1f} dB" for what, least in LEAST_DB.items() if kept[what] < least]
    missed += [f"proof {percent:.0f} %"] * (percent >= MOST_PERCENT)
    return f"MISSED: {', '.join(missed)}" if missed else "ok"


if __name__ == "__main__":
    if CORPUS:
        table(
            "Float rewrites: the function they keep, and the cost of its proof",
            COLUMNS,
            rewrites(sys.argv[1:] or tuple(TASKS)),
        )
    else:
        print(MISSING)
