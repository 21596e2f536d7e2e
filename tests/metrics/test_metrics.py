"""How a card and a word of the command line choose a metric."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onnxq.errors import RecipeError
from onnxq.metrics import METRICS, BoxAP, Setting, Top1, TopK, metric_of, parse_metric
from onnxq.metrics.agreement import Agreement
from onnxq.metrics.decoders import Detections, Ssd, Yolox
from onnxq.metrics.mean_iou import MeanIoU
from onnxq.metrics.sqnr import Sqnr
from onnxq.models.card import Card

Cards = Callable[..., Card]
SETTING = Setting("here", Path("/folder"), {"x": ("N", 3, 32, 64)})


def test_a_card_chooses_its_metric(card: Cards) -> None:
    assert metric_of(card()) is None
    assert metric_of(card(metric={"name": "top1"})) == Top1()
    assert metric_of(card(metric={"name": "topk", "k": 3})) == TopK(3)
    boxes = metric_of(card(metric={"name": "box_ap", "labels": "i.json", "decoder": "yolox", "strides": [8, 16]}))
    assert isinstance(boxes, BoxAP)
    assert (boxes.size, boxes.decoder, boxes.truth.name) == ((64, 64), Yolox((8, 16)), "i.json")


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"name": "tob1"}, "unknown metric 'tob1'. Did you mean 'top1'?"),
        ({"name": "box_ap", "labels": "i.json", "decoder": "yolo"}, "unknown decoder 'yolo'. Did you mean 'yolox'?"),
        ({"name": "box_ap", "decoder": "yolox"}, "metric box_ap wants 'labels'"),
        ({"name": "box_ap", "labels": "i.json"}, "unknown decoder ''. Valid: boxes, ssd, yolox."),
        (
            {"name": "box_ap", "labels": "i.json", "decoder": "yolox", "iou_threshold": 2},
            "metric box_ap: field 'iou_threshold' is 2 but",
        ),
        (
            {"name": "box_ap", "labels": "i.json", "decoder": "ssd", "stride": 8},
            "metric box_ap, decoder ssd: unknown field 'stride'",
        ),
        ({"name": "topk", "k": 0}, "metric topk: field 'k' is 0 but"),
        ({"name": "sqnr"}, "metric sqnr compares with FP32, which every report does"),
        ({"name": "mine.py:f"}, "unknown metric 'mine.py:f'"),  # a card runs no code
    ],
)
def test_wrong_metrics(card: Cards, metric: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        metric_of(card(metric=metric))
    assert said in str(caught.value)


def test_box_ap_wants_to_know_the_input_s_size(card: Cards) -> None:
    free = {"x": {"shape": ["N", 3, "H", "W"], "dtype": "float32"}}
    boxes = {"name": "box_ap", "labels": "i.json", "decoder": "yolox"}
    with pytest.raises(RecipeError, match="height and width of input 'x'"):
        metric_of(card(inputs=free, metric=boxes))
    sized = metric_of(card(inputs=free, metric=boxes, preprocessing={"resize": [32, 64]}))
    assert isinstance(sized, BoxAP) and sized.size == (32, 64)


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("top1", Top1()),
        ("top1, output = y", Top1("y")),
        ("topk,k=3", TopK(3)),
        ("agreement,axis=1,output=logits", Agreement("logits", 1)),
        ("sqnr", Sqnr()),
        ("mean_iou,ignore=-1", MeanIoU(-1)),
        (
            "box_ap,labels=a b.json,decoder=yolox,strides=[8, 16],iou_threshold=0.5",
            BoxAP(Path("/folder/a b.json"), (32, 64), decoder=Yolox((8, 16)), iou_threshold=0.5),
        ),
        (
            "box_ap,labels=/i.json,decoder=ssd,priors=p.npy,background=null,outputs=[b,s]",
            BoxAP(Path("/i.json"), (32, 64), decoder=Ssd(Path("/folder/p.npy"), background=None, outputs=("b", "s"))),
        ),
        (
            "box_ap,labels=i.json,decoder=boxes,layout=xywh,category_ids=true",
            BoxAP(Path("/folder/i.json"), (32, 64), decoder=Detections("xywh", category_ids=True)),
        ),
    ],
)
def test_a_word_chooses_a_metric(text: str, metric: object) -> None:
    assert parse_metric(text, SETTING) == metric


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tob1", "here: unknown metric 'tob1'. Did you mean 'top1'?"),
        ("tob1", "Or give script.py:function."),
        ("topk,3", "metric 'topk,3': '3' is no option"),
        ("topk,k=", "'k=' is no option"),
        ("topk,kk=3", "here: metric topk: unknown field 'kk'. Did you mean 'k'?"),
        ("topk,k=many", "field 'k' is 'many' but"),
        ("mine.py:f,k=3", "mine.py:f takes no options, and k is given"),
        ("box_ap,labels=i.json,decoder=boxes,layout=xyzw", "field 'layout' is 'xyzw' but"),
    ],
)
def test_wrong_words(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_metric(text, SETTING)
    assert said in str(caught.value)


def test_every_metric_has_a_name_and_says_what_it_wants() -> None:
    boxes = ",labels=i.json,decoder=yolox"
    found = {name: parse_metric(name + boxes * (name == "box_ap"), SETTING) for name in METRICS}
    assert {name for name, metric in found.items() if metric.compares} == {"agreement", "sqnr"}
    assert {metric.unit for metric in found.values()} == {"%", "dB"}
