"""`bridge run` in a process where every logger of every library may speak, down to debug."""

import logging

logging.basicConfig(level=logging.DEBUG)  # before the worker's own settings, as a site's start-up file would

if __name__ == "__main__":
    from bridge.cli import main

    main(["run"])
