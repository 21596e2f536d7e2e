"""The ONNX standard's own tests of its operators: what onnxq makes of each, counted by operator.

    python tests/bench/node_tests.py [-o docs/node_tests.md]

It ends with 1 where prepare changed a function, or a quantized graph does not load, or an error is no OnnxqError.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import onnx
import onnxruntime as ort

from node_cases import cases
from node_outcomes import Outcome, outcome

COLUMNS = ("operator", "tests", "run in float", "kept by prepare", "refused", "quantized", "not quantized, since")
REASONS = {  # as a user reads them, by words of the message
    "it has none": "no Conv, ConvTranspose, Gemm or MatMul",
    "no integer kernel": "onnxruntime has no integer kernel for it",
    "computed at run time": "its weight is computed at run time",
    "weight is a vector": "its weight is a vector",
    "not float32": "it is not float32",
    "NaN or infinity": "its inputs hold NaN or infinity",
    "no array can hold": "its input has a type that no array can hold",
    "numbers but of object": "it reads text",
    "_type; onnxq feeds tensors": "it reads a sequence or an optional",
    "already quantized": "it is quantized already",
    "names no opset": "it has no operator of the standard's own domain",
    "every value of input": "its inputs are all zero",
    "the model has no inputs": "it reads nothing",
    "cannot hold": "it has an attribute that onnx-graphsurgeon cannot hold",
    "changes the rank": "the ONNX converter breaks it on its way to opset 13",
    "cannot load": "onnxruntime refuses it once its shapes are inferred",
}
TITLE = """# The ONNX standard's own tests of its operators

onnx {onnx} comes with {tests} small models that test one operator each, or the nodes that spell it out. Every test is
run as it is; where it reads several tensors, once more with all but the first of them constant, as weights are; and
where it reads and gives rows of floats, once more between two linear layers, which become integers: {forms} tests.
onnxruntime {ort} runs {run} of them in float. Of these

* **{kept} keep their function through prepare**, without the proof that would undo a rewrite that does not;
  {refused} are refused before, with a reason; **{changed} change it**;
* **{quantized} are quantized** to a graph that passes ONNX's checker, loads, and runs; the others are refused with a
  reason; **{broken} give a graph that does not load**, or an error that is no sentence for the user.

`python tests/bench/node_tests.py -o docs/node_tests.md` makes this page, in some minutes.

"""


def rows(outcomes: Iterable[Outcome]) -> list[list[str]]:
    """One for each operator, in order of their names."""
    by_operator = groupby(sorted(outcomes, key=lambda found: found.case.operator), lambda found: found.case.operator)
    return [_row(operator, list(found)) for operator, found in by_operator]


def _row(operator: str, found: Sequence[Outcome]) -> list[str]:
    prepared = Counter(entry.prepared[0] for entry in found if entry.prepared)
    quantized = Counter(entry.quantized[0] for entry in found if entry.quantized)
    failed = [f"FAILED: {entry.case.name}: {entry.prepared}, {entry.quantized}" for entry in found if entry.failed]
    reasons = Counter(_reason(entry.quantized[1]) for entry in found if entry.quantized and entry.quantized[1])
    said = failed or [reason for reason, _ in reasons.most_common()] or ["onnxruntime runs none"] * (not quantized)
    counts = (len(found), sum(prepared.values()), prepared["kept"], prepared["refused"], quantized["quantized"])
    return [operator, *map(str, counts), "; ".join(said)]


def _reason(message: str) -> str:
    return next((short for words, short in REASONS.items() if words in message), re.sub(r"\s+", " ", message)[:120])


def page(outcomes: Sequence[Outcome]) -> str:
    run = [found for found in outcomes if found.refusal is None]
    prepared = Counter(found.prepared[0] for found in run if found.prepared)
    quantized = Counter(found.quantized[0] for found in run if found.quantized)
    title = TITLE.format(
        onnx=onnx.__version__,
        ort=ort.__version__,
        tests=sum(not found.case.form for found in outcomes),
        forms=len(outcomes),
        run=len(run),
        kept=prepared.pop("kept", 0),
        refused=prepared.pop("refused", 0),
        changed=sum(prepared.values()),
        quantized=quantized.pop("quantized", 0),
        broken=sum(quantized.values()) - quantized.pop("refused", 0),
    )
    lines = [COLUMNS, ["---"] + ["---:"] * 5 + ["---"], *rows(outcomes)]
    return title + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", type=Path, help="the Markdown file to write")
    asked = parser.parse_args()
    every = [outcome(case) for case in cases()]
    print(page(every))
    if asked.o:
        asked.o.write_text(page(every))
    sys.exit(any(found.failed for found in every))
