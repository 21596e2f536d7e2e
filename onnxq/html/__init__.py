"""The report as a page: one file, that fetches nothing, drawn from the facts that ``--json`` writes."""

from onnxq.html.page import page
from onnxq.html.told import read_facts, told

__all__ = ["page", "read_facts", "told"]
