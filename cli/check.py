"""``onnxq check``: what an engine makes of a quantized model, whoever made it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxq.cli.options import DATA, OUT, JsonFile, Preprocess, Quiet, Seed
from onnxq.cli.outputs import backend_choices

if TYPE_CHECKING:
    from onnxq.checking.check import Checked

EXAMPLES = """
Lint MODEL for one or several backends, build the engines, read back what runs in integers, compare times and outputs.

MODEL is any .onnx file, quantized by onnxq or by anything else, with Q/DQ nodes or with integer operators.

**Examples**

    onnxq check model.int8.onnx --backend openvino

    onnxq check model.int8.onnx --float model.onnx --data test.npz --batch 1 --batch 64 --require-int8 0.95
"""


def check(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")],
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            "-b",
            help="onnxruntime, openvino, tensorrt or portable; may be repeated. [default: onnxruntime]",
            autocompletion=backend_choices,
        ),
    ] = None,
    float_model: Annotated[
        Path | None,
        typer.Option(
            "--float",
            help="The FP32 model it was made from. [default: its Q/DQ are taken out]",
            rich_help_panel=DATA,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Samples, as for `onnxq quantize`. [default: random numbers]", rich_help_panel=DATA),
    ] = None,
    preprocess: Preprocess = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(help="Samples per run; may be repeated: engines differ. [default: 1]", rich_help_panel=DATA),
    ] = None,
    seed: Seed = 0,
    require_int8: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Exit with 1 if a smaller share of the MACs is INT8, such as 0.95.", rich_help_panel=OUT
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every layer, and every node of a finding.", rich_help_panel=OUT)
    ] = False,
    json_file: JsonFile = None,
    quiet: Quiet = False,
) -> None:
    from onnxq.backends import backend_of
    from onnxq.checking.check import check as run
    from onnxq.cli.progress import progress_bars
    from onnxq.files import check_writable
    from onnxq.preprocess import parse_preprocessing

    names = tuple(dict.fromkeys(backend or ("onnxruntime",)))
    for name in names:
        backend_of(name)
    if json_file is not None:
        check_writable(json_file)
    steps = parse_preprocessing(preprocess) if preprocess is not None else None
    with progress_bars(quiet) as progress:
        found = [
            run(
                model,
                name,
                float_model=float_model,
                data=data,
                batches=tuple(batch or (1,)),
                preprocessing=steps,
                seed=seed,
                progress=progress,
            )
            for name in names
        ]
    missed = {entry.backend: _missed(entry, require_int8) for entry in found}
    _write(found, missed, model, json_file, everything, quiet)
    if any(entry.problems or missed[entry.backend] for entry in found):
        raise typer.Exit(1)


check.__doc__ = EXAMPLES


def _missed(found: "Checked", require_int8: float | None) -> str | None:
    """Why the gate on INT8 is not passed."""
    if require_int8 is None:
        return None
    share = found.int8_macs
    if share is None:
        return f"--require-int8 {require_int8:g}: how much is INT8 is not known"
    if share >= require_int8:
        return None
    return f"--require-int8 {require_int8:g}: {100 * share:.1f} % of the MACs are INT8"


def _write(
    found: "list[Checked]",
    missed: "dict[str, str | None]",
    model: Path,
    json_file: Path | None,
    everything: bool,
    quiet: bool,
) -> None:
    from rich.console import Console
    from rich.text import Text

    from onnxq.checking.page import page
    from onnxq.facts import plain, versions
    from onnxq.files import write_file

    if json_file is not None:
        backends = {entry.backend: _facts(entry, missed[entry.backend]) for entry in found}
        facts = {"model": str(model), "versions": versions(), "backends": backends}
        write_file(json_file, json.dumps(plain(facts), indent=1).encode())
    console = Console(soft_wrap=False)
    for number, entry in enumerate(found):
        failed = list(entry.problems) if quiet else ["refused, or wrong answers: see above"] * bool(entry.problems)
        if not quiet:
            console.print(*([""] * (number > 0)), page(entry, str(model), everything))
        for said in filter(None, [*failed, missed[entry.backend]]):
            console.print(Text(f"FAILED on {entry.title}: {said}", "bold red"))


def _facts(found: "Checked", missed: str | None) -> dict[str, object]:
    from onnxq.facts import plain

    facts = plain(found)
    assert isinstance(facts, dict)
    return {**facts, "int8_macs": found.int8_macs, "failures": [*found.problems, *([missed] if missed else [])]}
