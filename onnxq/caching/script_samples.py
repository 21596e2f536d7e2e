"""What a script gives is known when it has run: a word for its samples, as they reach the model."""

from collections.abc import Mapping
from typing import cast

from onnxq.cli.cards import card_of
from onnxq.fingerprint import fingerprint_of_samples
from onnxq.model import load_model
from onnxq.preprocess import parse_preprocessing
from onnxq.sample_words import words
from onnxq.samples import input_specs, open_samples


def script_samples(asked: Mapping[str, object]) -> str:
    """``asked``: the options of the command. Raises OnnxqError as reading model and samples does."""
    model, preprocess = str(asked["model"]), asked.get("preprocess")
    card = card_of(model)
    steps = card.preprocessing if card is not None else None
    samples = open_samples(
        str(asked["data"]),
        input_specs(load_model(card.model_path if card else model)),
        preprocessing=steps if preprocess is None else parse_preprocessing(str(preprocess)),
        limit=cast("int | None", asked.get("samples")),
    )
    return fingerprint_of_samples(words(samples))
