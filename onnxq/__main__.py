"""``python -m onnxq`` is the command."""

from onnxq.cli.main import main

main()
