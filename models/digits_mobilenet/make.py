"""Make ``digits_mobilenet``: inverted residuals with ReLU6, trained on scikit-learn's handwritten digits.

Writes beside this file ``model.onnx``, ``calibration.npz`` (256 training images) and ``test.npz`` (500 images
kept out of the training), and prints the top-1 accuracy of the ONNX model. BatchNorm stays in the graph,
for a quantizer to fold.

It needs onnxq and two libraries more: ``pip install -e . torch scikit-learn``.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from onnxq.models.digits import make

STAGES = ((1, 16, 1, 2), (4, 24, 2, 1), (4, 32, 2, 2), (4, 40, 2, 1))  # expansion, channels, blocks, stride
SPREAD = 0.9  # standard deviation of the logarithm of the first scale of a channel


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


if __name__ == "__main__":
    make(MobileNet, Path(__file__).parent, epochs=35, learning_rate=4e-3, fold=False)
