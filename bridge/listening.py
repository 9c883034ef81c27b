"""Ports: bound for one process, or shared by several between which the kernel spreads connections."""

import contextlib
import itertools
import random
import socket
import sys
from collections.abc import Iterator

from bridge.config import Config
from bridge.errors import ConfigError

BACKLOG = 2048
_LAST_PORT = 65_535
_FREE = range(10_000, 31_900)
"""Where free ports are looked for, with some room behind."""

_turns = itertools.count(random.SystemRandom().randrange(len(_FREE)))
"""Ports that were given out are not given out again before all others: who asked may not listen yet.

From anywhere, as others do so side by side; by a chance that is not the tests' own, which is the same in all.
"""


def bind(host: str, port: int, *, shared: bool = False, listens: bool = True) -> socket.socket:
    """Return a socket that is bound there.

    Args:
        host: An address of this machine.
        port: The port; 0 takes a free one.
        shared: Let other processes of this user bind it as well, if they say so too.
        listens: False only to hold the port.

    Raises:
        OSError: it cannot; the message names the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle off where the protocol is named; else an answer waits for an acknowledgement.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        if listens:
            bound.listen(BACKLOG)
        else:  # once it is bound: of two who have it, and of whom none listens yet, either may listen
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return bound


@contextlib.contextmanager
def hold_ports(config: Config, count: int, platform: str = sys.platform) -> Iterator[socket.socket]:
    """Hold the ports of ``count`` workers, once they are known to be free: yields the public one.

    All of them are held until the end: what a worker that is started again needs, nobody else has taken.

    Raises:
        ConfigError: the ports do not go together, or the system does not spread connections.
        OSError: one is taken.
    """
    if platform != "linux" or not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError(
            "--workers needs Linux, which spreads connections over all who listen on a port (SO_REUSEPORT): "
            "start `bridge run` once for each worker, with a BRIDGE_PORT and BRIDGE_ADMIN_PORT of its own"
        )
    admin = range(config.admin_port, config.admin_port + count) if config.admin_port else range(0)
    if config.port in admin:
        raise ConfigError(
            f"--workers {count} takes the admin ports {admin[0]} to {admin[-1]}, of which BRIDGE_PORT is "
            f"one: set BRIDGE_ADMIN_PORT={config.port + 1}, or more"
        )
    if admin and admin[-1] > _LAST_PORT:
        raise ConfigError(
            f"--workers {count} takes the admin ports {admin[0]} to {admin[-1]}, and {_LAST_PORT} is the "
            f"last there is: set BRIDGE_ADMIN_PORT={_LAST_PORT + 1 - count}, or less"
        )
    addresses = ((config.host, config.port), *((config.admin_host, port) for port in admin))
    # Alone first: who shares would not notice others of this user who do.
    with contextlib.ExitStack() as alone:
        for host, port in addresses:
            alone.enter_context(bind(host, port, listens=False))
    with contextlib.ExitStack() as shared:
        public, *_ = [shared.enter_context(bind(*one, shared=True, listens=False)) for one in addresses]
        yield public


def free_port() -> int:
    """Return a port that nobody listens on."""
    return free_ports(1)[0]


def free_ports(count: int) -> range:
    """Return so many ports in a row that nobody listens on.

    Below those that the system gives to connections: one of these would take a port before its worker does.
    """
    while True:
        turns = [next(_turns) for _ in range(count)]
        first = _FREE[turns[0] % len(_FREE)]
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in range(first, first + count):
                probes.enter_context(socket.create_server(("127.0.0.1", port)))
            return range(first, first + count)
