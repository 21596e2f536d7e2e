"""A metric as one word of the command line: ``NAME``, or ``NAME,option=value,option=value``."""

import re

from onnxq.errors import RecipeError
from onnxq.validation import parse_yaml

_COMMA = re.compile(r",(?![^\[]*\])")  # but those inside of [ ]


def parsed(text: str) -> tuple[str, dict[str, object]]:
    """The name and the options; values are YAML, so ``strides=[8,16]`` is a list. Raises RecipeError."""
    name, *rest = _COMMA.split(text)
    options: dict[str, object] = {}
    for part in rest:
        option, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not option or not value:
            raise RecipeError(
                f"metric {text!r}: {part!r} is no option. Write --metric NAME,option=value, as topk,k=3 or "
                "box_ap,labels=instances.json,decoder=yolox."
            )
        options[option] = parse_yaml(f"value: {value}", f"metric {text!r}, option {option}")["value"]
    return name.strip(), options
