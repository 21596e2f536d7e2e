"""Which layers? Each is quantized alone in the float network, and left float alone in the quantized one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx

from onnxq.diagnosing.behind import Behind, Change
from onnxq.diagnosing.ends import ends, showing
from onnxq.diagnosing.parts import Tensors, heard, noise, of_outputs
from onnxq.diagnosing.switched import Site, Switched
from onnxq.held_out import mean_noise

LOST = 0.1  # noise over signal in power, 10 dB: an error of a third of the signal


@dataclass(frozen=True)
class LayerNoise:
    """Of the outputs, error over signal in power: with nothing quantized but the layer's ``weights``, or the
    ``activations`` it makes (0 where it has none); and ``left_out``, with everything quantized but the layer. None
    where the budget did not last. ``ends``: with the layer quantized alone, of everything that the outputs are joined
    of."""

    site: Site
    weights: float | None = None
    activations: float | None = None
    left_out: float | None = None
    ends: Mapping[str, float] = field(default_factory=dict)

    @property
    def alone(self) -> float:
        """Of weights and activations together: they hardly depend on each other, so that powers add up."""
        return (self.weights or 0.0) + (self.activations or 0.0)

    @property
    def worst(self) -> float:
        """At the end that the layer harms most."""
        return max(self.ends.values(), default=self.alone)

    @property
    def measured(self) -> bool:
        """Whether it was quantized alone."""
        return self.weights is not None and self.activations is not None


def layers(
    network: Switched,
    batches: Sequence[Tensors],
    wanted: Sequence[Tensors],
    time_left: Callable[[], bool],
    step: Callable[[int, int], None],
) -> tuple[LayerNoise, ...]:
    """All of them, in graph order. ``wanted`` has the outputs and their ``ends``; ``step`` is told what is done of how
    many."""
    total = 2 * len(network.sites)
    found = {site.layer: LayerNoise(site) for site in network.sites}
    outputs, joined = [value.name for value in network.wanted.graph.output], ends(network.wanted)
    alone = Behind(showing(network.wanted, joined), batches)
    asked = sorted(_alone(network), key=lambda one: alone.first(one[2]))
    for done, (site, what, change) in enumerate(asked):
        if not time_left():
            break
        step(done * len(network.sites) // len(asked), total)
        each, known = heard(alone, change, wanted).each, found[site.layer]
        here = {name: known.ends.get(name, 0.0) + each[name] for name in joined if name in each}
        measured = mean_noise(each[name] for name in outputs if name in each)
        found[site.layer] = replace(known, **{what: measured, "ends": here})  # type: ignore[arg-type]
    for layer, one in found.items():
        none = {what: 0.0 for what in ("weights", "activations") if not getattr(one.site, what)}
        found[layer] = replace(one, **none)  # type: ignore[arg-type]
    without, wanted = Behind(network.made, batches), of_outputs(network.wanted, wanted)
    left = sorted(((site, _left_out(network, site)) for site in network.sites), key=lambda one: without.first(one[1]))
    for done, (site, change) in enumerate(left):
        if not time_left():
            break
        step(len(left) + done, total)
        found[site.layer] = replace(found[site.layer], left_out=noise(without, change, wanted))
    step(total, total)
    return tuple(found.values())


def ranked(noises: Sequence[LayerNoise], spread: Mapping[str, float]) -> tuple[LayerNoise, ...]:
    """The noisiest first, judged where each does most harm; those that were not measured last. What is lost cannot be
    more lost: of layers each of which alone loses an end, the one comes first whose channels ``spread`` most."""

    def key(one: LayerNoise) -> tuple[bool, float, float, float]:
        return (not one.measured, -min(one.worst, LOST), -spread.get(one.site.layer, 0.0), -one.alone)

    return tuple(sorted(noises, key=key))


def _alone(network: Switched) -> list[tuple[Site, str, Change]]:
    """Weights and activations of every layer apart."""
    found = []
    for site in network.sites:
        constants = _held(network.rounded, site.weights)
        switches = tuple(network.switches[name] for name in site.activations if name in network.switches)
        found += [(site, "weights", Change(constants))] if constants else []
        found += [(site, "activations", Change(on=switches))] if switches else []
    return found


def _left_out(network: Switched, site: Site) -> Change:
    switches = tuple(network.switches[name] for name in site.activations if name in network.switches)
    return Change(_held(network.exact, site.weights), off=switches)


def _held(tensors: Mapping[str, onnx.TensorProto], names: Sequence[str]) -> dict[str, onnx.TensorProto]:
    return {name: tensors[name] for name in names if name in tensors}
