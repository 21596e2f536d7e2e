"""Every card that ships is small, complete, and says the truth about its model."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxq.metrics import metric_of
from onnxq.models.card import load_card, shipped_cards
from onnxq.samples import input_specs, open_samples

LARGEST = 2 << 20  # bytes


@pytest.mark.parametrize("name", shipped_cards())
def test_a_shipped_card_is_small_and_its_inputs_are_the_model_s(name: str) -> None:
    card = load_card(name)
    assert card.name == name
    assert card.model_path.stat().st_size < LARGEST
    data = {card.calibration_path, card.test_path, card.labels_path} - {None}
    assert sum(path.stat().st_size for path in data if path is not None) < LARGEST
    specs = input_specs(onnx.load(card.model_path))
    assert {spec.name: (spec.shape, str(spec.dtype)) for spec in specs} == {
        key: (value.shape, value.dtype) for key, value in card.inputs.items()
    }
    calibration = open_samples(card.calibration_path, specs, preprocessing=card.preprocessing)
    assert sum(batch.count for batch in calibration.batches(32)) == calibration.count


@pytest.mark.parametrize("name", shipped_cards())
def test_a_shipped_card_s_accuracy_is_what_the_model_has(name: str) -> None:
    card = load_card(name)
    metric = metric_of(card)
    if metric is None or card.test_path is None:
        assert card.accuracy is None
        return
    model = onnx.load(card.model_path)
    session = ort.InferenceSession(card.model_path, providers=["CPUExecutionProvider"])
    names = [output.name for output in model.graph.output]
    samples = open_samples(card.test_path, input_specs(model), preprocessing=card.preprocessing)
    answers, labels = [], []
    for batch in samples.batches(50):
        answers.append([array[: batch.count] for array in session.run(names, batch.feeds)])
        labels.append(batch.labels)
    outputs = {name: np.concatenate(parts) for name, parts in zip(names, zip(*answers, strict=True), strict=True)}
    truth = np.concatenate([part for part in labels if part is not None])
    assert metric.measure(outputs, truth) == pytest.approx(card.accuracy, abs=0.2)
