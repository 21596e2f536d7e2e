"""What is told of solved weights."""

from onnxq.solving.solved_layer import SolvedLayer, told

LAYERS = [SolvedLayer(f"conv{i}", "gptq" if i else "mse", 4, 0.1 * (i + 1), 0.01 * i, 0.5) for i in range(5)]


def test_a_line_for_all_and_the_worst() -> None:
    first, *others = told([*LAYERS, SolvedLayer("lstm", "nearest", 8, None, 0, 0)])
    assert first == (
        "4 by gptq, 1 by mse, 1 by nearest in 2.5 s, at most 4.0 % clipped; 0.30 of the error of rounding to nearest"
    )
    assert others == [
        "0.50 of it in 'conv4': 4 bits by gptq, 4.0 % clipped",
        "0.40 of it in 'conv3': 4 bits by gptq, 3.0 % clipped",
        "0.30 of it in 'conv2': 4 bits by gptq, 2.0 % clipped",
    ]


def test_few_layers_are_not_told_one_by_one_and_rounding_to_nearest_not_at_all() -> None:
    assert len(list(told(LAYERS[:2]))) == 1
    assert list(told([])) == list(told([SolvedLayer("conv", "nearest", 8, 1.0, 0, 0.1)])) == []
