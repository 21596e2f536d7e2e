"""Samples are taken down while something else reads them, and not read again."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from onnxq.data.register import Register
from onnxq.inputs import InputSpec, input_specs
from onnxq.sample_words import words
from onnxq.samples import Samples, open_samples
from onnxq.testing import parse

ROWS = np.random.default_rng(0).standard_normal((150, 3)).astype(np.float32)


def specs(batch: str) -> tuple[InputSpec, ...]:
    return input_specs(parse(f"g (float[{batch},3] x) => (float[{batch},3] y) {{ y = Relu(x) }}"))


def counted(batch: str, reads: list[int]) -> Samples:
    def feeds() -> Iterator[dict[str, np.ndarray]]:
        reads.append(1)
        for start in range(0, len(ROWS), 10):
            yield {"x": ROWS[start : start + 10]}

    return replace(open_samples(feeds, specs(batch)), register=Register())


@pytest.mark.parametrize("batch", ["N", "4"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_whatever_reads_all_of_them_is_enough(batch: str, size: int) -> None:
    reads: list[int] = []
    samples = counted(batch, reads)
    wanted = words(open_samples({"x": ROWS}, specs(batch)))
    for shard in samples.shards(size):
        assert len(list(shard)) > 0
    np.testing.assert_array_equal(words(samples), wanted)
    assert len(reads) == 1 and len(wanted) == len(ROWS) == len(set(wanted.tolist()))


def test_what_was_read_in_part_is_read_on() -> None:
    reads: list[int] = []
    samples = counted("N", reads)
    next(samples.batches(64))
    assert samples.register is not None and len(samples.register.words) == 64 and not samples.register.whole
    assert len(list(samples.take(5).batches(1))) == 5
    assert len(words(samples)) == 150 and len(reads) == 3
    assert len(words(samples)) == 150 and len(reads) == 3


def test_parts_have_none() -> None:
    samples = counted("N", [])
    assert samples.take(3).register is None and samples.part(2, 5).register is None
