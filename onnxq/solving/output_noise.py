"""What another weight in one layer does to the outputs of a model, measured: the model runs with it on samples."""

from collections.abc import Collection, Iterator, Mapping

import onnx

from onnxq.execute import Session
from onnxq.held_out import Heard
from onnxq.inputs import Array, batch_axis
from onnxq.workspace import Workspace

SAMPLES = 16
BATCH = 4
LARGE_BYTES = 2**18  # a sample from which on they are run one by one
HELD_BYTES = 2**26  # of samples and answers; what finds no room is left out

Tensors = Mapping[str, Array]


class OutputNoise:
    """A model whose ``weights``, initializers by name, can be given with what it is fed: one session serves for all."""

    def __init__(self, workspace: Workspace, weights: Collection[str], samples: int = SAMPLES) -> None:
        model = workspace.model()
        for tensor in model.graph.initializer:
            if tensor.name in weights:  # one that is an input too can be given, and is used as it is where it is not
                entry = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                model.graph.input.append(entry)
        self._session = Session(model)
        self._batches = list(self._answered(workspace, samples))

    def __call__(self, values: Tensors) -> float:
        """Error over signal in power, the mean over all float outputs, with these values of some weights; infinite
        where no output can be compared."""
        heard = Heard()
        for feeds, answers in self._batches:
            heard.add(answers, self._session.run({**feeds, **values}))
        return heard.noise

    def _answered(self, workspace: Workspace, count: int) -> Iterator[tuple[Tensors, Tensors]]:
        samples = workspace.samples.take(max(count, batch_axis(workspace.samples.inputs).fixed or 1))
        small, held = _bytes(next(iter(samples.batches(1))).feeds) < LARGE_BYTES, 0
        for batch in samples.batches(min(BATCH if small else 1, workspace.batch or BATCH)):
            answers = self._session.run(batch.feeds)
            yield batch.feeds, answers
            held += _bytes(batch.feeds) + _bytes(answers)
            if held > HELD_BYTES:
                return


def _bytes(tensors: Tensors) -> int:
    return sum(array.nbytes for array in tensors.values())
