"""Ports of one process, and shared ones."""

import socket
from pathlib import Path

import pytest

from bridge.config import Config
from bridge.errors import ConfigError
from bridge.listening import bind, free_port, free_ports, hold_ports


def test_a_port_is_for_one_process_unless_all_share_it():
    """Who does not say that it shares gets an error that names the address."""
    with bind("127.0.0.1", 0) as alone:
        port = alone.getsockname()[1]
        for shared in (False, True):
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
                bind("127.0.0.1", port, shared=shared)
    with (
        bind("127.0.0.1", port, shared=True),
        bind("127.0.0.1", port, shared=True),
        pytest.raises(OSError, match="cannot listen"),
    ):
        bind("127.0.0.1", port)


def test_a_port_that_is_only_held_takes_no_connections():
    """They go to those who listen."""
    with bind("127.0.0.1", 0, shared=True, listens=False) as held:
        address = held.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with bind("127.0.0.1", address[1], shared=True) as listening:
            for _ in range(10):
                with socket.create_connection(address):
                    listening.accept()[0].close()


def _config(port: int, admin_port: int) -> Config:
    return Config(supabase_url="http://x", service_role_key="k", port=port, admin_port=admin_port)


@pytest.mark.parametrize(
    ("port", "admin_port", "says"),
    [
        (3004, 3003, "ports 3003 to 3005, of which BRIDGE_PORT is one: set BRIDGE_ADMIN_PORT=3005, or more"),
        (3002, 65_534, "ports 65534 to 65536, and 65535 is the last there is: set BRIDGE_ADMIN_PORT=65533"),
    ],
)
def test_ports_that_do_not_go_together_are_refused(port: int, admin_port: int, says: str):
    """With what to set instead."""
    with pytest.raises(ConfigError, match=says), hold_ports(_config(port, admin_port), 3):
        pass


def test_a_system_that_does_not_spread_connections_is_refused():
    """There one worker would get all of them."""
    with (
        pytest.raises(ConfigError, match="--workers needs Linux"),
        hold_ports(_config(0, 0), 2, platform="darwin"),
    ):
        pass


def test_a_port_of_the_range_that_is_taken_is_named():
    """Also where who has it would share it: that is another bridge's."""
    first, second = free_ports(2)
    with bind("127.0.0.1", second, shared=True):
        for config in (_config(second, 0), _config(0, first)):
            with (
                pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{second}: "),
                hold_ports(config, 2),
            ):
                pass


def test_the_admin_port_of_a_worker_that_is_away_is_nobody_elses():
    """It listens there again when it is back, and nobody is answered there meanwhile."""
    first, second = free_ports(2)
    with hold_ports(_config(0, first), 2):
        for port in (first, second):
            bind("127.0.0.1", port, shared=True).close()  # a worker that came and went
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
                bind("127.0.0.1", port)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            bind("127.0.0.1", port, shared=True).close()
    bind("127.0.0.1", second).close()


def test_a_held_port_is_the_workers():
    """0 is a free one, and stays the same one when no worker listens for a while."""
    with hold_ports(_config(0, 0), 2) as held:
        for _ in range(2):
            bind("127.0.0.1", held.getsockname()[1], shared=True).close()


def test_a_port_is_not_given_out_twice():
    """Whoever has been given one need not listen on it yet."""
    given = [port for _ in range(500) for port in (free_port(), *free_ports(3))]
    assert len(set(given)) == len(given)


def test_free_ports_are_not_those_that_connections_get():
    """A client's connection would take one before the worker does, or while it is being restarted."""
    ports = free_ports(3)
    assert list(ports) == list(range(ports[0], ports[0] + 3))
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    assert not given.exists() or ports[-1] < int(given.read_text().split()[0])
