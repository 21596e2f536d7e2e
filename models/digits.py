"""Make a classifier of scikit-learn's handwritten digits: its data, its training, its files, its accuracy.

For the ``make.py`` of each such model, and nothing else: it needs ``pip install torch scikit-learn``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

SEED = 0
SIDE = 16
SCALE, MEAN, STD = 1 / 255, 0.3, 0.35
TEST_IMAGES, CALIBRATION_IMAGES = 500, 256
BATCH = 64


def digits() -> tuple[np.ndarray, np.ndarray]:
    """All digits as uint8 ``[1797, 16, 16, 1]``, twice as large, and their labels int64 ``[1797]``."""
    data = load_digits()
    grey = np.rint(data.images * 255 / 16).astype(np.uint8)
    large = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in grey]
    return np.stack([np.asarray(image) for image in large])[..., None], data.target.astype(np.int64)


def preprocess(images: np.ndarray) -> np.ndarray:
    """Images uint8 ``[N, H, W, 1]`` as the model input float32 ``[N, 1, H, W]``, as the card says."""
    x = (images.astype(np.float32) * np.float32(SCALE) - np.float32(MEAN)) / np.float32(STD)
    return x.transpose(0, 3, 1, 2)


def augment(x: Tensor) -> Tensor:
    """Turn, scale, slant and shift each image a little; what comes in from outside repeats the border."""
    n = len(x)
    turn = torch.eye(2) + 0.12 * torch.randn(n, 2, 2)
    shift = 0.12 * torch.randn(n, 2, 1)
    grid = functional.affine_grid(torch.cat([turn, shift], 2), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def train(model: nn.Module, x: Tensor, labels: Tensor, epochs: int, learning_rate: float) -> None:
    """AdamW with one warm-up and one decay of the learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps)
    for _ in range(epochs):
        order = torch.randperm(len(x))[: len(x) // BATCH * BATCH]
        for chosen in order.split(BATCH):
            optimizer.zero_grad()
            logits = model(augment(x[chosen]))
            functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()


def export(model: nn.Module, path: Path, fold: bool) -> None:
    """Write the model; opset 17 has LayerNormalization as one operator. Without ``fold`` its BatchNorms stay."""
    mode = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(
        model.eval(), (torch.zeros(1, 1, SIDE, SIDE),), path, dynamo=False, opset_version=17,
        training=mode, do_constant_folding=fold,
        input_names=["image"], output_names=["logits"], dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
    )  # fmt: skip
    onnx.checker.check_model(path, full_check=True)


def accuracy(path: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy of the ONNX model in percent."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = np.asarray(session.run(["logits"], {"image": preprocess(images)})[0])
    return 100 * float((logits.argmax(1) == labels).mean())


def make(build: Callable[[], nn.Module], folder: Path, epochs: int, learning_rate: float, fold: bool) -> None:
    """Train the model that ``build`` returns and write it and its data to the folder; print its accuracy."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    images, labels = digits()
    split = train_test_split(images, labels, test_size=TEST_IMAGES, random_state=SEED, stratify=labels)
    train_images, test_images, train_labels, test_labels = split
    few = slice(CALIBRATION_IMAGES)
    np.savez_compressed(folder / "calibration.npz", images=train_images[few], labels=train_labels[few])
    np.savez_compressed(folder / "test.npz", images=test_images, labels=test_labels)
    model = build()
    train(model, torch.from_numpy(preprocess(train_images)), torch.from_numpy(train_labels), epochs, learning_rate)
    export(model, folder / "model.onnx", fold)
    top1 = accuracy(folder / "model.onnx", test_images, test_labels)
    print(f"top-1 accuracy on {len(test_labels)} test images: {top1:.1f} %")
