"""What the table of passes shows."""

import io

from rich.console import Console, Group

from onnxq.ablation_table import ablation_tables
from onnxq.variants import Ablation, Outcome, Variant

WHOLE = Outcome(30.0, 91.5, 20, 1.26)


def shown(*variants: Variant, metric: str = "top1") -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    ablation = Ablation(64, metric, "%", (Variant((), {"one": WHOLE}), *variants))
    console.print(Group(*ablation_tables(ablation, {"one": "Engine"})))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_row_says_what_its_pass_brings() -> None:
    rows = shown(
        Variant(("help",), {"one": Outcome(24.0, 91.75, 22, 1.0, 6.0, -0.25)}),
        Variant(("idle",), {"one": Outcome(30.0, 91.5, 20, 1.2, 0.0, 0.0, same_graph=True)}),
        Variant(("other",), {"one": Outcome(30.0, 91.5, 21, 1.2, 0.0, 0.0)}),
        Variant(("help", "idle"), {"one": Outcome(24.0, 91.75, 22, 1.0, 6.0, -0.25)}),
    )
    assert rows[1] == "Engine  what each pass brings to the Q/DQ graph, on 64 samples"
    assert [row.split() for row in rows[2:]] == [
        ["left", "out", "SQNR", "brings", "top1", "brings", "nodes", "seconds"],
        ["nothing", "30.00", "dB", "91.50", "%", "20", "1.3"],
        ["help", "24.00", "dB", "+6.00", "91.75", "%", "-0.25", "22", "1.0"],
        ["idle", "30.00", "dB", "same", "graph", "91.50", "%", "0", "20", "1.2"],
        ["other", "30.00", "dB", "0", "91.50", "%", "0", "21", "1.2"],
        ["all", "2", "24.00", "dB", "+6.00", "91.75", "%", "-0.25", "22", "1.0"],
    ]


def test_without_a_metric_there_is_no_column_for_it() -> None:
    rows = shown(Variant(("help",), {"one": Outcome(24.0, None, 22, 1.0, 6.0)}), metric="")
    assert rows[2].split() == ["left", "out", "SQNR", "brings", "nodes", "seconds"]
    assert rows[4].split() == ["help", "24.00", "dB", "+6.00", "22", "1.0"]


def test_a_reason_stands_below() -> None:
    rows = shown(Variant(("help",), {"one": Outcome(problem="it is needed")}))
    assert rows[4].split() == ["help", *"–––", *"–"]
    assert rows[5] == "  without help it cannot be run: it is needed"
