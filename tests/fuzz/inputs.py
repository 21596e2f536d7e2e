"""The input of a number: the same for ever, as long as the seeds and the mutations are."""

import random

from mutations import MUTATIONS, flipped
from seeds import seed_model


def fuzz_input(number: int) -> tuple[bytes, str]:
    """The bytes of a model file, and what was done to it."""
    random_ = random.Random(number)
    model = seed_model(random_)
    if random_.random() < 0.2:
        return flipped(model.SerializeToString(), random_), "flipped"
    done = []
    for mutation in random_.choices(MUTATIONS, k=random_.choice((1, 1, 1, 2, 3))):
        try:
            mutation(model, random_)
        except (ValueError, IndexError, TypeError):  # protobuf holds no such number
            continue
        done.append(mutation.__name__)
    return model.SerializeToString(), " ".join(done)
