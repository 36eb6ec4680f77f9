"""``python -m qzhou_eval`` is the same as ``qzhou-eval``."""

from qzhou_eval.cli import main

main()
