"""What another weight in one layer does to the outputs of a model, measured: the model runs with it on samples."""

from collections.abc import Iterator, Mapping, Sequence

import onnx

from onnxq.execute import Session
from onnxq.few_samples import LARGE_BYTES, feed_bytes
from onnxq.held_out import Heard
from onnxq.inputs import Array, batch_axis
from onnxq.workspace import Workspace

SAMPLES = 16
BATCH = 4
HELD_BYTES = 2**24  # of samples and answers; what finds no room is left out: large images have many places
TOGETHER = 8  # weights of one session: it cannot prepare layers for them as it does for constants

Tensors = Mapping[str, Array]


class OutputNoise:
    """A model some of whose ``weights``, initializers by name, can be given with what it is fed. They are asked for
    mostly in the order that they have here."""

    def __init__(self, workspace: Workspace, weights: Sequence[str], samples: int = SAMPLES) -> None:
        self._model, self._weights = workspace.model(), list(dict.fromkeys(weights))
        self._held: tuple[frozenset[str], Session] = frozenset(), Session(self._model)
        self._batches = list(self._answered(workspace, samples))

    def __call__(self, values: Tensors) -> float:
        """Error over signal in power, the mean over all float outputs, with these values of some weights; infinite
        where no output can be compared."""
        session, heard = self._session(frozenset(values)), Heard()
        for feeds, answers in self._batches:
            heard.add(answers, session.run({**feeds, **values}))
        return heard.noise

    def _session(self, wanted: frozenset[str]) -> Session:
        """One that takes these weights, and such as may be asked for next."""
        given, session = self._held
        if not wanted <= given:
            first = min(map(self._weights.index, wanted))
            given = wanted | frozenset(self._weights[first : first + TOGETHER])
            session = Session(_taking(self._model, given))
            self._held = given, session
        return session

    def _answered(self, workspace: Workspace, count: int) -> Iterator[tuple[Tensors, Tensors]]:
        samples = workspace.samples.take(max(count, batch_axis(workspace.samples.inputs).fixed or 1))
        small, held = feed_bytes(next(iter(samples.batches(1))).feeds) < LARGE_BYTES, 0
        for batch in samples.batches(min(BATCH if small else 1, workspace.batch or BATCH)):
            answers = self._held[1].run(batch.feeds)
            yield batch.feeds, answers
            held += feed_bytes(batch.feeds) + feed_bytes(answers)
            if held > HELD_BYTES:
                return


def _taking(model: onnx.ModelProto, weights: frozenset[str]) -> onnx.ModelProto:
    """The model, with inputs for weights that take the place of initializers where they are given."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in weights:
            copy.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return copy
