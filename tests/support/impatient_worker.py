"""``python -m tests.support.impatient_worker``: a worker whose policies count for a second without a check."""

from bridge import certainty
from bridge.cli import main

if __name__ == "__main__":
    certainty.CERTAIN_S = 1.0
    main(["run"])
