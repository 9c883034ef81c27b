"""``python -m bridge`` is the same as ``bridge``."""

from bridge.cli import main

main()
