"""What this machine gives the worker."""

import errno
import resource
import socket

import pytest

from bridge.checking.machine import Port, check_files, check_machine, check_port
from bridge.config import Config

PORT = Port("BRIDGE_PORT", "127.0.0.1", 3002, "/healthz")


@pytest.mark.parametrize(
    ("hard", "status", "fix"),
    [
        (20_256, "ok", ""),
        (resource.RLIM_INFINITY, "ok", ""),
        (20_255, "warning", "limits.d"),
    ],
)
def test_the_limit_of_open_files(hard: int, status: str, fix: str) -> None:
    """Each connection is one; the worker takes what the system lets it, so that only the hard limit counts."""
    found = check_files(hard, 20_000)
    assert (found.status, fix in found.fix) == (status, True)


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EADDRINUSE, "export BRIDGE_PORT="),
        (errno.EACCES, "export BRIDGE_PORT="),
        (errno.EADDRNOTAVAIL, "export BRIDGE_HOST=127.0.0.1"),
    ],
)
def test_a_port_that_cannot_be_had(number: int, fix: str) -> None:
    """Taken, privileged, or of another machine."""
    found = check_port(PORT, OSError(number, "x"), runs=False)
    assert (found.status, found.fix.startswith(fix)) == ("fail", True)


def test_a_bridge_that_runs_is_as_it_should_be() -> None:
    """And so is a free port."""
    assert check_port(PORT, None, runs=True).says.startswith("a bridge runs there")
    assert check_port(PORT, None, runs=False).status == "ok"


async def test_two_ports_that_are_one() -> None:
    """No other process has it, so that ending one would not help."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one = Config(supabase_url="http://x", service_role_key="k", port=port, admin_port=port)
    found = (await check_machine(one))[1]
    assert (found.subject, found.status) == ("BRIDGE_ADMIN_PORT", "fail")
    assert found.says == f"both ports are {port}: the admin port is another one"
