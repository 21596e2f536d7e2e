"""Metrics by name, one a file: what a card, ``onnxq evaluate`` and ``quantize(metric=)`` measure."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from onnxq.data.script import is_script
from onnxq.errors import RecipeError, unknown
from onnxq.metrics.box_ap import BoxAP
from onnxq.metrics.mean_iou import MeanIoU
from onnxq.metrics.metric import Counted, Metric
from onnxq.metrics.own import Own
from onnxq.metrics.setting import AS_IT_IS, Setting
from onnxq.metrics.top1 import Top1
from onnxq.metrics.topk import TopK
from onnxq.metrics.words import parsed
from onnxq.models.card import Card
from onnxq.preprocess import Preprocessing

__all__ = ["METRICS", "BoxAP", "Metric", "Setting", "Top1", "TopK", "metric_named", "metric_of", "parse_metric"]

METRICS = ("agreement", "box_ap", "mean_iou", "sqnr", "top1", "topk")


def metric_named(name: str, options: Mapping[str, object], setting: Setting) -> Counted[Any]:
    """The metric of that name. Raises RecipeError for one that is unknown, or an option that is wrong."""
    if name not in METRICS:
        raise RecipeError(f"{setting.where}: {unknown('metric', name, METRICS)}")
    setting = replace(setting, where=f"{setting.where}: metric {name}")
    found: Counted[Any] = importlib.import_module(f"onnxq.metrics.{name}").from_options(options, setting)
    return found


def parse_metric(text: str, setting: Setting) -> Counted[Any]:
    """The metric of ``NAME,option=value``, or the user's own of ``script.py:function``, whose code is loaded now."""
    name, options = parsed(text)
    if name in METRICS:
        return metric_named(name, options, setting)
    if not is_script(name):
        raise RecipeError(f"{setting.where}: {unknown('metric', name, METRICS)} Or give script.py:function.")
    if options:
        raise RecipeError(f"{setting.where}: {name} takes no options, and {', '.join(options)} is given.")
    return Own.of(name)


def metric_of(card: Card, preprocessing: Preprocessing | None = None) -> Metric | None:
    """The metric a card asks for, of images preprocessed as it says, unless it is said otherwise.

    Raises RecipeError for one that is unknown, lacks an option, or needs no labels.

    A card runs no code, so ``script.py:function`` is unknown to it.
    """
    if card.metric is None:
        return None
    setting = setting_of(card)
    setting = replace(setting, preprocessing=preprocessing or setting.preprocessing)
    found = metric_named(card.metric.name, card.metric.options, setting)
    if found.compares:
        raise RecipeError(
            f"{card.folder}: metric {found.name} compares with FP32, which every report does. Leave 'metric' out of "
            f"the card, or measure it with onnxq evaluate --metric {found.name}."
        )
    assert isinstance(found, Top1 | TopK | BoxAP | MeanIoU)
    return found


def setting_of(card: Card) -> Setting:
    """What a card says of its model."""
    shapes = {name: entry.shape for name, entry in card.inputs.items()}
    return Setting(str(card.folder), card.folder, shapes, card.preprocessing or AS_IT_IS)
