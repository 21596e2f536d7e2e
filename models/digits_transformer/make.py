"""Make ``digits_transformer``: a small vision transformer, trained on scikit-learn's handwritten digits.

Writes beside this file ``model.onnx``, ``calibration.npz`` (256 training images) and ``test.npz`` (500 images
kept out of the training), and prints the top-1 accuracy of the ONNX model. Attention is written
out as MatMul, Softmax and MatMul; each block normalizes its input (pre-norm).
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
EPOCHS, BATCH, LEARNING_RATE = 100, 64, 2e-3
PATCH, WIDTH, HEADS, BLOCKS = 4, 48, 4, 3
TOKENS = (SIDE // PATCH) ** 2
SPREAD = 1.0  # standard deviation of the logarithm of the first scale of a channel


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


class Attention(nn.Module):
    """Multi-head self-attention over tokens ``[N, TOKENS, WIDTH]``."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def heads(self, x: Tensor) -> Tensor:
        """``[N, TOKENS, WIDTH]`` to ``[N, HEADS, TOKENS, WIDTH / HEADS]``."""
        return x.reshape(-1, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(self.query(x)), self.heads(self.key(x)), self.heads(self.value(x))
        weights = (query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5).softmax(-1)
        y: Tensor = self.out((weights @ value).transpose(1, 2).reshape(-1, TOKENS, WIDTH))
        return y


def spread(norm: nn.LayerNorm, *readers: nn.Linear) -> None:
    """Start the scales of the channels log-normal and divide the weights that read them by the same.

    The function stays as it was, but it now has outlier channels, as large transformers do (Xiao et al. 2022,
    arXiv:2211.10438); a task as easy as digits does not bring them about.
    """
    scale = torch.exp(SPREAD * torch.randn(WIDTH))
    norm.weight.data *= scale
    for reader in readers:
        reader.weight.data /= scale


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""

    def __init__(self) -> None:
        super().__init__()
        attention, wide = Attention(), nn.Linear(WIDTH, 2 * WIDTH)
        self.attention = nn.Sequential(nn.LayerNorm(WIDTH), attention)
        self.mlp = nn.Sequential(nn.LayerNorm(WIDTH), wide, nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        spread(self.attention[0], attention.query, attention.key, attention.value)
        spread(self.mlp[0], wide)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        y: Tensor = x + self.mlp(x)
        return y


class Transformer(nn.Module):
    """Images ``[N, 1, 16, 16]`` to logits ``[N, 10]``."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, PATCH, PATCH)
        self.position = nn.Parameter(0.1 * torch.randn(1, TOKENS, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)), nn.LayerNorm(WIDTH))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).reshape(-1, WIDTH, TOKENS).transpose(1, 2) + self.position
        logits: Tensor = self.head(self.blocks(tokens).mean(1))
        return logits


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
    """Write the model; opset 17 has LayerNormalization as one operator."""
    torch.onnx.export(
        model.eval(), (torch.zeros(1, 1, SIDE, SIDE),), path, dynamo=False, opset_version=17,
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
    model = Transformer()
    train(model, torch.from_numpy(preprocess(train_images)), torch.from_numpy(train_labels))
    export(model, HERE / "model.onnx")
    top1 = accuracy(HERE / "model.onnx", test_images, test_labels)
    print(f"top-1 accuracy on {len(test_labels)} test images: {top1:.1f} %")


if __name__ == "__main__":
    main()
