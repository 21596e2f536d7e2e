"""Make ``digits_transformer``: a small vision transformer, trained on scikit-learn's handwritten digits.

Writes beside this file ``model.onnx``, ``calibration.npz`` (256 training images) and ``test.npz`` (500 images
kept out of the training), and prints the top-1 accuracy of the ONNX model. Attention is written
out as MatMul, Softmax and MatMul; each block normalizes its input (pre-norm).

It needs onnxq and two libraries more: ``pip install -e . torch scikit-learn``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from onnxq.models.digits import SIDE, make

PATCH, WIDTH, HEADS, BLOCKS = 4, 48, 4, 3
TOKENS = (SIDE // PATCH) ** 2
SPREAD = 1.0  # standard deviation of the logarithm of the first scale of a channel


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


if __name__ == "__main__":
    make(Transformer, Path(__file__).parent, epochs=100, learning_rate=2e-3, fold=True)
