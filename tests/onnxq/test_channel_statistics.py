"""Statistics of channels, reduced inside the graph, against numpy."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from onnxq.channel_statistics import Along, ChannelStatistics, channel_statistics
from onnxq.execute import Session
from onnxq.testing import Array, normal, parse, workspace

X = normal(8, 4, 5, 6) * np.array([1, 10, 0.1, 0], np.float32).reshape(4, 1, 1) + 0.5
BODY = (
    "a = Neg(x) t = Transpose<perm=[0,2,3,1]>(a) f = GlobalMaxPool(a) g = Flatten(f) r = Reshape(t, rows) y = Relu(a)"
)


def net(batch: str, opset: int = 17) -> onnx.ModelProto:
    return parse(f"g (float[{batch},4,5,6] x) => (float[{batch},4,5,6] y) {{ {BODY} }}", opset, rows=np.array([-1, 4]))


def by_numpy(array: Array, axis: int) -> ChannelStatistics:
    flat = np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis]).astype(np.float64)
    return ChannelStatistics(flat.min(axis=0), flat.max(axis=0))


def alike(one: ChannelStatistics, other: ChannelStatistics) -> None:
    for kind in ("low", "high"):
        np.testing.assert_allclose(getattr(one, kind), getattr(other, kind), rtol=1e-5, atol=1e-6, err_msg=kind)


WATCHED = {"a": (-X, 1, 4), "t": (-X.transpose(0, 2, 3, 1), 3, 4), "x": (X, 1, 4), "y": (np.maximum(-X, 0), 1, 4)}
POOLED = {"g": ((-X).max(axis=(2, 3)), 1, 2), "r": (-X.transpose(0, 2, 3, 1).reshape(-1, 4), 1, 2)}


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize("batch", ["N", "1", "2"])
def test_as_numpy_has_them(opset: int, batch: str) -> None:
    space = workspace(net(batch, opset), {"x": X})
    wanted = {**WATCHED, **POOLED}
    tensors = {name: Along(axis, rank) for name, (_, axis, rank) in wanted.items()}
    found = channel_statistics(space, tensors, None)
    for name, (array, axis, _) in wanted.items():
        alike(found[name], by_numpy(array, axis))


def test_a_fixed_batch_that_the_samples_do_not_fill() -> None:
    """The last of 8 samples fill a batch of 3, whose rest is not counted."""
    space = workspace(net("3"), {"x": X})
    found = channel_statistics(space, {"a": Along(1, 4), "g": Along(1, 2)}, None)
    alike(found["a"], by_numpy(-X, 1))
    alike(found["g"], by_numpy(POOLED["g"][0], 1))


def test_so_many_samples() -> None:
    found = channel_statistics(workspace(net("N"), {"x": X}), {"a": Along(1, 4)}, 3)
    alike(found["a"], by_numpy(-X[:3], 1))


def test_batches_of_any_size() -> None:
    for batch in (1, 5, None):
        space = workspace(net("N"), {"x": X})
        space.batch = batch
        alike(channel_statistics(space, {"a": Along(1, 4)}, None)["a"], by_numpy(-X, 1))


def test_few_samples_at_once_of_large_tensors_and_some_of_unknown_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fed = []

    class Watching(Session):
        def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
            fed.append(len(feeds["x"]))
            return super().run(feeds)

    monkeypatch.setattr("onnxq.channel_statistics.Session", Watching)
    for side, wanted in ((512, [1, 1, 1]), (362, [2, 1]), (8, [3])):
        model = parse(f"g (float[N,4,{side},{side}] x) => (float[N,4,{side},{side}] y) {{ y = Relu(x) }}")
        space = workspace(model, {"x": np.zeros((3, 4, side, side), np.float32)})
        channel_statistics(space, {"y": Along(1, 4)}, None)
        assert fed == wanted
        fed.clear()
    model = parse("g (float[N,4,H,W] x) => (float[N,4,H,W] y) { y = Relu(x) }")
    channel_statistics(workspace(model, {"x": np.zeros((3, 4, 512, 512), np.float32)}), {"y": Along(1, 4)}, None)
    assert fed == [3]


def test_channels_on_the_first_axis_are_not_taken_for_samples() -> None:
    """Four channels, in a batch of four that two samples fill by half."""
    model = parse("g (float[4,4] x) => (float[4,4] y) { y = Transpose(x) }")
    x = normal(6, 4)
    found = channel_statistics(workspace(model, {"x": x}), {"y": Along(0, 2)}, None)["y"]
    assert found.high.shape == (4,)
    np.testing.assert_allclose(found.high, x.max(axis=0), rtol=1e-6)


def test_reach_and_finiteness() -> None:
    found = ChannelStatistics(np.array([-3.0, 0, 1]), np.array([2.0, 0, 5]))
    assert found.reach.tolist() == [3, 0, 5]
    assert found.finite
    model = parse("g (float[N,2] x) => (float[N,2] y) { y = Log(x) }")
    space = workspace(model, {"x": np.array([[1, 0], [1, 2]], np.float32)})
    assert not channel_statistics(space, {"y": Along(1, 2)}, None)["y"].finite


def test_no_tensors_no_run() -> None:
    assert channel_statistics(workspace(net("N"), {"x": X}), {}, None) == {}
