"""``python -m tests.support.hanging_worker``: a worker whose loop hangs as soon as it drains."""

import sys
import time

from bridge import supervisor
from bridge.cli import main
from bridge.connection import Server

if __name__ == "__main__":
    supervisor.END_GRACE_S = 0.3
    Server.stop_accepting = lambda _self: time.sleep(60)  # type: ignore[method-assign]
    main(sys.argv[1:])
