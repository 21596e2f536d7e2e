"""``python -m onnxq`` is the command."""

from onnxq.cli.entry import main

main()
