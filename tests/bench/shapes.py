"""Nets in the shapes of well-known ones: the same layers, 224x224 images, dynamic batch, random weights."""

from collections.abc import Callable, Mapping

import onnx

from net import Net

Shape = tuple[int, int, int]
IMAGE = (3, 224, 224)
CLASSES = 1000
RESIDUE = 0.5  # gain of the last norm of a residual branch, so that sums of many keep their size


def resnet18() -> onnx.ModelProto:
    """He et al. 2016, table 1: two 3x3 convolutions a block."""
    return _resnet("resnet18", (2, 2, 2, 2), bottleneck=False)


def resnet50() -> onnx.ModelProto:
    """He et al. 2016, table 1: 1x1, 3x3, 1x1 a block, stride in the 3x3."""
    return _resnet("resnet50", (3, 4, 6, 3), bottleneck=True)


def _resnet(name: str, depths: tuple[int, ...], *, bottleneck: bool) -> onnx.ModelProto:
    net = Net(name)
    x = net.op("Relu", net.norm(net.conv("input", (3, 64, 7), stride=2), 64))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inside = 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        outside = 4 * width if bottleneck else width
        for block in range(depth):
            stride = 2 if stage and not block else 1
            y = _bottleneck(net, x, (inside, width, outside), stride) if bottleneck else x
            y = y if bottleneck else _basic(net, x, (inside, width), stride)
            if stride > 1 or inside != outside:
                x = net.norm(net.conv(x, (inside, outside, 1), stride=stride), outside)
            x, inside = net.op("Relu", net.op("Add", y, x)), outside
    return _classified(net, x, inside)


def _basic(net: Net, x: str, widths: tuple[int, int], stride: int) -> str:
    inside, width = widths
    y = net.op("Relu", net.norm(net.conv(x, (inside, width, 3), stride=stride), width))
    return net.norm(net.conv(y, (width, width, 3)), width, RESIDUE)


def _bottleneck(net: Net, x: str, widths: Shape, stride: int) -> str:
    inside, width, outside = widths
    y = net.op("Relu", net.norm(net.conv(x, (inside, width, 1)), width))
    y = net.op("Relu", net.norm(net.conv(y, (width, width, 3), stride=stride), width))
    return net.norm(net.conv(y, (width, outside, 1)), outside, RESIDUE)


def _classified(net: Net, x: str, channels: int) -> onnx.ModelProto:
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model(net.linear(x, channels, CLASSES), IMAGE, CLASSES)


def mobilenetv2() -> onnx.ModelProto:
    """Sandler et al. 2018, table 2: expand, depthwise, project; ReLU6 exported as Clip."""
    net, inside = Net("mobilenetv2"), 32
    x = net.relu6(net.norm(net.conv("input", (3, 32, 3), stride=2), 32))
    # expansion, channels, blocks, stride of the first
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, outside, blocks, first in rows:
        for block in range(blocks):
            stride, width, y = (1 if block else first), expansion * inside, x
            if expansion > 1:
                y = net.relu6(net.norm(net.conv(y, (inside, width, 1)), width))
            y = net.relu6(net.norm(net.conv(y, (width, width, 3), stride=stride, groups=width), width))
            y = net.norm(net.conv(y, (width, outside, 1)), outside, RESIDUE if inside == outside else 1)
            x = net.op("Add", x, y) if stride == 1 and inside == outside else y
            inside = outside
    x = net.relu6(net.norm(net.conv(x, (inside, 1280, 1)), 1280))
    return _classified(net, x, 1280)


def mobilenetv3() -> onnx.ModelProto:
    """Howard et al. 2019, table 1 (large): squeeze-and-excite, HardSwish in the deeper half."""
    net, inside = Net("mobilenetv3"), 16
    x = net.op("HardSwish", net.norm(net.conv("input", (3, 16, 3), stride=2), 16))
    for kernel, width, outside, excited, activation, stride in V3_LARGE:
        y = x
        if width != inside:
            y = net.op(activation, net.norm(net.conv(y, (inside, width, 1)), width))
        y = net.norm(net.conv(y, (width, width, kernel), stride=stride, groups=width), width)
        y = net.op(activation, y)
        if excited:
            y = _excited(net, y, width)
        y = net.norm(net.conv(y, (width, outside, 1)), outside, RESIDUE if inside == outside else 1)
        x = net.op("Add", x, y) if stride == 1 and inside == outside else y
        inside = outside
    x = net.op("HardSwish", net.norm(net.conv(x, (160, 960, 1)), 960))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = net.op("HardSwish", net.linear(x, 960, 1280))
    return net.model(net.linear(x, 1280, CLASSES), IMAGE, CLASSES)


# kernel, expanded channels, channels, squeeze-and-excite, activation, stride
V3_LARGE = (
    (3, 16, 16, False, "Relu", 1),
    (3, 64, 24, False, "Relu", 2),
    (3, 72, 24, False, "Relu", 1),
    (5, 72, 40, True, "Relu", 2),
    (5, 120, 40, True, "Relu", 1),
    (5, 120, 40, True, "Relu", 1),
    (3, 240, 80, False, "HardSwish", 2),
    (3, 200, 80, False, "HardSwish", 1),
    (3, 184, 80, False, "HardSwish", 1),
    (3, 184, 80, False, "HardSwish", 1),
    (3, 480, 112, True, "HardSwish", 1),
    (3, 672, 112, True, "HardSwish", 1),
    (5, 672, 160, True, "HardSwish", 2),
    (5, 960, 160, True, "HardSwish", 1),
    (5, 960, 160, True, "HardSwish", 1),
)


def _excited(net: Net, x: str, channels: int) -> str:
    """``x * HardSigmoid(W2 Relu(W1 mean(x)))``, a quarter of the channels between, rounded to a multiple of 8."""
    squeezed = max(8, (channels // 4 + 4) // 8 * 8)
    gate = net.op("Relu", net.conv(net.op("GlobalAveragePool", x), (channels, squeezed, 1), bias=True))
    gate = net.op("HardSigmoid", net.conv(gate, (squeezed, channels, 1), bias=True), alpha=1 / 6, beta=0.5)
    return net.op("Mul", gate, x)


SHAPES: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "resnet50": resnet50,
    "resnet18": resnet18,
    "mobilenetv2": mobilenetv2,
    "mobilenetv3": mobilenetv3,
}
