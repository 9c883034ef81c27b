"""What a worker of the bench is given, and what is known of it."""

import os
import socket
from pathlib import Path

from bridge.bench.worker import Worker, free_ports


def test_free_ports_are_not_those_that_connections_get():
    """A client's connection would take one before the worker does, or while it is being restarted."""
    ports = free_ports(3)
    assert list(ports) == list(range(ports[0], ports[0] + 3))
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    assert not given.exists() or ports[-1] < int(given.read_text().split()[0])


def test_a_worker_that_does_not_run_has_no_processes(tmp_path: Path):
    """Nor memory."""
    worker = Worker(os.environ, tmp_path / "log", processes=2)
    assert (worker.pid, worker.children, worker.memory_bytes()) == (0, [], 0)
    assert list(worker.admin_ports) == [worker.admin_port, worker.admin_port + 1]
