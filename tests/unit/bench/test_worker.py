"""What a worker of the bench is given, and what is known of it."""

import os
from pathlib import Path

from bridge.bench.worker import Worker


def test_a_worker_that_does_not_run_has_no_processes(tmp_path: Path):
    """Nor memory."""
    worker = Worker(os.environ, tmp_path / "log", processes=2)
    assert (worker.pid, worker.children, worker.memory_bytes()) == (0, [], 0)
    assert list(worker.admin_ports) == [worker.admin_port, worker.admin_port + 1]
