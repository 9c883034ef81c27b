"""``bridge run`` in a process that may have few files open: their number is the argument."""

import resource
import sys

from bridge.cli import main

if __name__ == "__main__":
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    main(["run"], prog_name="bridge")
