"""Make ``shapes_detector``: a small YOLOX-like detector of circles, squares, triangles and stars.

Draws its scenes, trains on 3000 of them and writes beside this file ``model.onnx``, ``calibration.npz`` (40
of these scenes), ``test.npz`` (90 others) and ``instances.json`` (the COCO ground truth of those 90); prints
the box AP of the ONNX model. Boxes leave it undecoded: centre is (xy + cell) * stride, size exp(wh) * stride.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from PIL import Image, ImageDraw, ImageFilter
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
SEED = 0
SIDE, STRIDES = 96, (8, 16)
CLASSES = ("circle", "square", "triangle", "star")
MOST = 6  # objects in a scene
LARGE = 30  # pixels of the longer side from which an object belongs to the coarser cells
SCALE, MEAN, STD = 1 / 255, 0.45, 0.25
TEST_SCENES = 90
TRAINING_SCENES, EPOCHS, BATCH, LEARNING_RATE = 3000, 22, 32, 3e-3
SCORE, OVERLAP = 0.001, 0.65


@dataclass(frozen=True)
class Scenes:
    """Images uint8 ``[N, 96, 96, 3]``; boxes (cx, cy, w, h) in pixels, padded with 0, ``[N, 6, 4]``; their
    classes ``[N, 6]``."""

    images: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


def outline(kind: str, size: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """The corners of one shape of random place, proportion and angle; ``size`` is its radius in pixels."""
    corners = {"circle": 40, "square": 4, "triangle": 3, "star": 10}[kind]
    turn = np.arange(corners) * 2 * np.pi / corners + rng.uniform(0, 2 * np.pi)
    radius = np.where(np.arange(corners) % 2, 0.45, 1.0) if kind == "star" else np.ones(corners)
    points = np.stack([np.cos(turn), np.sin(turn)], 1) * radius[:, None] * rng.uniform(0.8, 1.2, 2)
    placed = points * size + rng.uniform(0.6 * size, SIDE - 0.6 * size, 2)
    return [(float(x), float(y)) for x, y in placed]


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One image, its boxes and its classes; smaller shapes lie on top of larger ones."""
    coarse = rng.integers(0, 256, (*rng.integers(2, 9, 2), 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    boxes, classes = np.zeros((MOST, 4), np.float32), np.zeros(MOST, np.int64)
    sizes = np.exp(rng.uniform(np.log(7), np.log(30), rng.integers(1, MOST + 1)))
    for i, size in enumerate(np.sort(sizes)[::-1]):
        classes[i] = rng.integers(len(CLASSES))
        mask, corners = Image.new("L", (SIDE, SIDE)), outline(CLASSES[classes[i]], size, rng)
        ImageDraw.Draw(mask).polygon(corners, fill=int(rng.integers(170, 256)))
        image.paste(tuple(int(c) for c in rng.integers(0, 256, 3)), mask=mask)
        left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
        boxes[i] = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2))), np.float32)
    noisy = blurred + rng.normal(0, rng.uniform(1, 5), blurred.shape)
    # Five bits for each colour keep the noise and let the files be half as large.
    return noisy.clip(0, 255).astype(np.uint8) & 0xF8, boxes, classes


def draw(count: int, rng: np.random.Generator) -> Scenes:
    """``count`` new scenes."""
    images, boxes, classes = zip(*(scene(rng) for _ in range(count)), strict=True)
    return Scenes(np.stack(images), np.stack(boxes), np.stack(classes))


def preprocess(images: np.ndarray) -> np.ndarray:
    """Images uint8 ``[N, H, W, 3]`` as the model input float32 ``[N, 3, H, W]``, as the card says."""
    x = (images.astype(np.float32) * np.float32(SCALE) - np.float32(MEAN)) / np.float32(STD)
    return x.transpose(0, 3, 1, 2)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm and SiLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.SiLU())


class CrossStage(nn.Module):
    """Half of the channels go through a residual block, half around it, and both are mixed (CSP)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.through, self.around = conv(inputs, half, 1), conv(inputs, half, 1)
        self.mix = conv(outputs, outputs, 1)
        self.block = nn.Sequential(conv(half, half, 1), conv(half, half, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.through(x)
        mixed: Tensor = self.mix(torch.cat([y + self.block(y), self.around(x)], 1))
        return mixed


class Head(nn.Module):
    """Box, objectness and class scores of each cell: ``[N, 5 + C, cells]``."""

    def __init__(self, inputs: int, stride: int) -> None:
        super().__init__()
        self.cells = (SIDE // stride) ** 2
        self.regress, self.classify = conv(inputs, 32, 3), conv(inputs, 32, 3)
        self.box, self.object = nn.Conv2d(32, 4, 1), nn.Conv2d(32, 1, 1)
        self.score = nn.Conv2d(32, len(CLASSES), 1)
        for rare in (self.object, self.score):
            nn.init.constant_(rare.bias, -4.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        place, kind = self.regress(x), self.classify(x)
        y = torch.cat([self.box(place), self.object(place).sigmoid(), self.score(kind).sigmoid()], 1)
        return y.reshape(-1, 5 + len(CLASSES), self.cells)


class Detector(nn.Module):
    """Images ``[N, 3, 96, 96]`` to predictions ``[N, 180, 5 + C]``: cells of stride 8, then of stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(conv(3, 12, 3, 2), conv(12, 24, 3, 2), CrossStage(24, 24))
        self.fine = nn.Sequential(conv(24, 48, 3, 2), CrossStage(48, 48))
        self.coarse = nn.Sequential(conv(48, 64, 3, 2), CrossStage(64, 64), conv(64, 48, 1))
        self.up, self.down = CrossStage(96, 48), conv(48, 48, 3, 2)
        self.last = CrossStage(96, 48)
        self.heads = nn.ModuleList(Head(48, stride) for stride in STRIDES)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(self.early(x))
        coarse = self.coarse(fine)
        larger = functional.interpolate(coarse, scale_factor=2.0)
        fine = self.up(torch.cat([larger, fine], 1))
        coarse = self.last(torch.cat([self.down(fine), coarse], 1))
        scales = zip(self.heads, (fine, coarse), strict=True)
        return torch.cat([head(y) for head, y in scales], 2).transpose(1, 2)


def cells() -> tuple[Tensor, Tensor]:
    """Column and row ``[A, 2]`` and stride ``[A, 1]`` of each prediction."""
    sides = [SIDE // stride for stride in STRIDES]
    grids = [torch.cartesian_prod(torch.arange(side), torch.arange(side)).flip(1) for side in sides]
    strides = [torch.full((side * side, 1), stride) for side, stride in zip(sides, STRIDES, strict=True)]
    return torch.cat(grids), torch.cat(strides)


def decode(predictions: Tensor) -> Tensor:
    """Boxes (cx, cy, w, h) in pixels ``[N, A, 4]``."""
    grid, stride = cells()
    return torch.cat([(predictions[..., :2] + grid) * stride, predictions[..., 2:4].exp() * stride], -1)


def iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of boxes (cx, cy, w, h), and its generalized form (Rezatofighi et al. 2019)."""
    low_a, high_a, low_b, high_b = (x[..., :2] + s * x[..., 2:] / 2 for x in (a, b) for s in (-1, 1))
    common = (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0).prod(-1)
    around = (torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - common
    return common / union, common / union - (around - union) / around


def loss(predictions: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
    """Generalized IoU and cross entropy; an object belongs to the cells less than a stride off its centre."""
    grid, stride = cells()
    distance = (boxes[:, None, :, :2] - ((grid + 0.5) * stride)[:, None]).abs().amax(-1)
    level = torch.where(boxes[..., 2:].amax(-1) < LARGE, *STRIDES)
    mine = (distance < stride) & (level[:, None] == stride) & (boxes[:, None, :, 2] > 0)
    area, chosen = torch.where(mine, boxes[..., 2:].prod(-1)[:, None], torch.inf).min(-1)
    image, cell = torch.nonzero(area < torch.inf, as_tuple=True)
    index = chosen[image, cell]
    overlap, generalized = iou(decode(predictions)[image, cell], boxes[image, index])
    # The class score learns the overlap too, so that the best placed box ranks first (as YOLOX does).
    score = functional.one_hot(classes[image, index], len(CLASSES)) * overlap.detach().clamp(min=0)[:, None]
    owned = (area < torch.inf).float()
    entropy = functional.binary_cross_entropy(predictions[..., 4], owned, reduction="sum")
    entropy = entropy + functional.binary_cross_entropy(predictions[image, cell, 5:], score, reduction="sum")
    return (5 * (1 - generalized).sum() + entropy) / len(index)


def train(model: nn.Module, scenes: Scenes) -> None:
    """AdamW with one warm-up and one decay; each scene is mirrored at random along both axes."""
    x, boxes = torch.from_numpy(preprocess(scenes.images)), torch.from_numpy(scenes.boxes)
    classes = torch.from_numpy(scenes.classes)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            images, truth = x[chosen], boxes[chosen]
            for axis in (0, 1):
                if torch.rand(()) < 0.5:
                    images = images.flip(3 - axis)
                    truth[..., axis] = SIDE - truth[..., axis]
            optimizer.zero_grad()
            loss(model(images), truth, classes[chosen]).backward()
            optimizer.step()
            schedule.step()


def export(model: nn.Module, path: Path) -> None:
    """Write the model with its BatchNorms; the default export would fold them."""
    torch.onnx.export(
        model.eval(), (torch.zeros(1, 3, SIDE, SIDE),), path, dynamo=False, opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=True,
        input_names=["images"], output_names=["predictions"],
        dynamic_axes={"images": {0: "N"}, "predictions": {0: "N"}},
    )  # fmt: skip
    exported = onnx.load(path)
    # Behind Resize the exporter loses the sizes and names them instead.
    sizes = exported.graph.output[0].type.tensor_type.shape.dim
    sizes[1].dim_value, sizes[2].dim_value = len(cells()[0]), 5 + len(CLASSES)
    onnx.save(exported, path)
    onnx.checker.check_model(path, full_check=True)


def ground_truth(scenes: Scenes) -> dict[str, list[dict[str, object]]]:
    """The scenes as COCO instances; image ``i`` has the id ``i + 1``."""
    annotations: list[dict[str, object]] = []
    for i, j in np.argwhere(scenes.boxes[..., 2] > 0):
        x, y, w, h = (float(v) for v in scenes.boxes[i, j])
        annotations.append({
            "id": len(annotations) + 1, "image_id": int(i) + 1, "category_id": int(scenes.classes[i, j]) + 1,
            "bbox": [x - w / 2, y - h / 2, w, h], "area": w * h, "iscrowd": 0,
        })  # fmt: skip
    return {
        "images": [{"id": i + 1, "width": SIDE, "height": SIDE} for i in range(len(scenes.images))],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": annotations,
    }


def detections(path: Path, images: np.ndarray) -> list[list[float]]:
    """Rows (image id, x, y, w, h, score, category id): the best class of a cell, after NMS per class."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    predictions = torch.from_numpy(session.run(["predictions"], {"images": preprocess(images)})[0])
    rows: list[list[float]] = []
    for number, (boxes, prediction) in enumerate(zip(decode(predictions), predictions, strict=True), 1):
        scores, kinds = (prediction[:, 4:5] * prediction[:, 5:]).max(1)
        alive = scores > SCORE
        for best in scores.argsort(descending=True).tolist():
            if alive[best]:
                alive &= (iou(boxes[best], boxes)[0] <= OVERLAP) | (kinds != kinds[best])
                cx, cy, w, h = boxes[best].tolist()
                rows.append([number, cx - w / 2, cy - h / 2, w, h, float(scores[best]), int(kinds[best]) + 1])
    return rows


def box_ap(path: Path, images: np.ndarray, instances: Path) -> float:
    """COCO box AP@[.5:.95] of the ONNX model in percent."""
    truth = COCO(instances)
    evaluation = COCOeval(truth, truth.loadRes(np.array(detections(path, images))), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return 100 * float(evaluation.stats[0])


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    training, test = draw(TRAINING_SCENES, rng), draw(TEST_SCENES, rng)
    np.savez_compressed(HERE / "calibration.npz", images=training.images[:40])
    ids = np.arange(1, TEST_SCENES + 1, dtype=np.int64)
    np.savez_compressed(HERE / "test.npz", images=test.images, labels=ids)
    (HERE / "instances.json").write_text(json.dumps(ground_truth(test)), encoding="utf-8")
    model = Detector().to(memory_format=torch.channels_last)
    train(model, training)
    export(model, HERE / "model.onnx")
    ap = box_ap(HERE / "model.onnx", test.images, HERE / "instances.json")
    print(f"box AP on {TEST_SCENES} test scenes: {ap:.1f} %")


if __name__ == "__main__":
    main()
