"""Polygraphy's figures of two sides: what every comparison of answers in onnxq is made of."""

import numpy as np

from onnxq.comparing.sides import Side, run_results


def figures(first: Side, second: Side, figure: str) -> dict[str, list[float]]:
    """Of every output, iteration by iteration. ``figure``: ``snr``, in dB, ``cosine_similarity`` or ``max_absdiff``."""
    from polygraphy.comparator import (
        Comparator,
        CosineSimilarityCompareFunc,
        SimpleCompareFunc,
        SnrCompareFunc,
    )
    from polygraphy.logger import G_LOGGER

    # It logs every comparison at length, errors relative to next to nothing too; ours go into tables and reports.
    funcs = {"snr": SnrCompareFunc, "cosine_similarity": CosineSimilarityCompareFunc, "max_absdiff": SimpleCompareFunc}
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL), np.errstate(all="ignore"):
        compared = Comparator.compare_accuracy(run_results([first, second]), compare_func=funcs[figure]())
    (pairs,) = compared  # one comparison function, of one pair of runners
    (iterations,) = pairs.values()
    found: dict[str, list[float]] = {}
    for iteration in iterations:
        for name, result in iteration.items():
            found.setdefault(name, []).append(float(getattr(result, figure)))
    return found
