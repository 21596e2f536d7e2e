"""Names that fit a column."""


def shortened(name: str, head: int, tail: int) -> str:
    """Long names of exporters, cut in the middle: both ends tell layers apart."""
    return name if len(name) <= head + 1 + tail else f"{name[:head]}…{name[-tail:]}"
