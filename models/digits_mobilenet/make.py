"""Make ``digits_mobilenet``: inverted residuals with ReLU6, trained on scikit-learn's handwritten digits.

Writes beside this file ``model.onnx``, ``calibration.npz`` (256 training images) and ``test.npz`` (500 images
kept out of the training), and prints the top-1 accuracy of the ONNX model. BatchNorm stays in the graph,
for a quantizer to fold.
"""

from __future__ import annotations

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

HERE = Path(__file__).parent
SEED = 0
SIDE = 16
SCALE, MEAN, STD = 1 / 255, 0.3, 0.35
EPOCHS, BATCH, LEARNING_RATE = 35, 64, 4e-3
STAGES = ((1, 16, 1, 2), (4, 24, 2, 1), (4, 32, 2, 2), (4, 40, 2, 1))  # expansion, channels, blocks, stride
SPREAD = 0.9  # standard deviation of the logarithm of the first scale of a channel


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


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and BatchNorm, without the activation."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


def expand(inputs: int, outputs: int) -> list[nn.Module]:
    """Pointwise convolution with BatchNorm scales that start log-normal, and ReLU6.

    The BatchNorm behind the next, depthwise convolution levels the scales again, so training hardly feels
    them; but once folded, the weights of the channels differ in range as in MobileNetV2 trained on ImageNet
    (Nagel et al. 2019, arXiv:1906.04721, figure 2). Digits alone are too easy a task to bring this about.
    """
    layer, norm = nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
    nn.init.normal_(norm.weight, std=SPREAD)
    norm.weight.data.exp_()
    return [layer, norm, nn.ReLU6()]


class InvertedResidual(nn.Module):
    """Expand, depthwise 3x3, project; added to the input where the shapes agree (MobileNetV2, figure 3)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            *(expand(inputs, hidden) if expansion > 1 else ()),
            *(*conv(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6()),
            *conv(hidden, outputs, 1),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """Images ``[N, 1, 16, 16]`` to logits ``[N, 10]``."""

    def __init__(self) -> None:
        super().__init__()
        channels = STAGES[0][1]
        layers: list[nn.Module] = [*conv(1, channels, 3), nn.ReLU6()]
        for expansion, outputs, blocks, stride in STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(channels, outputs, expansion, stride if block == 0 else 1))
                channels = outputs
        head = [*conv(channels, 96, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10)]
        self.layers = nn.Sequential(*layers, *head)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def train(model: nn.Module, x: Tensor, labels: Tensor) -> None:
    """AdamW with one warm-up and one decay of the learning rate."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))[: len(x) // BATCH * BATCH]
        for chosen in order.split(BATCH):
            optimizer.zero_grad()
            logits = model(augment(x[chosen]))
            functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()


def export(model: nn.Module, path: Path) -> None:
    """Write the model with its BatchNorms; the default export would fold them."""
    torch.onnx.export(
        model.eval(), (torch.zeros(1, 1, SIDE, SIDE),), path, dynamo=False, opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
        input_names=["image"], output_names=["logits"], dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
    )  # fmt: skip
    onnx.checker.check_model(path, full_check=True)


def accuracy(path: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy of the ONNX model in percent."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = np.asarray(session.run(["logits"], {"image": preprocess(images)})[0])
    return 100 * float((logits.argmax(1) == labels).mean())


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    images, labels = digits()
    split = train_test_split(images, labels, test_size=500, random_state=SEED, stratify=labels)
    train_images, test_images, train_labels, test_labels = split
    np.savez_compressed(HERE / "calibration.npz", images=train_images[:256], labels=train_labels[:256])
    np.savez_compressed(HERE / "test.npz", images=test_images, labels=test_labels)
    model = MobileNet()
    train(model, torch.from_numpy(preprocess(train_images)), torch.from_numpy(train_labels))
    export(model, HERE / "model.onnx")
    top1 = accuracy(HERE / "model.onnx", test_images, test_labels)
    print(f"top-1 accuracy on {len(test_labels)} test images: {top1:.1f} %")


if __name__ == "__main__":
    main()
