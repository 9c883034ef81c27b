"""What this machine has to give the worker: two ports and enough open files."""

import contextlib
import errno
import resource

import httpx
import msgspec

from bridge.checking.report import Check, bad, ok
from bridge.config import Config
from bridge.descriptors import needed_files, suffices
from bridge.listening import bind, free_port

_ASK_TIMEOUT_S = 2.0

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask, not to listen
"""Addresses that stand for all of the machine's, and one of them."""


class Port(msgspec.Struct, frozen=True):
    """A port that the worker listens on: its setting, the address, and a path that tells whether it does."""

    setting: str
    host: str
    number: int
    path: str


async def check_machine(config: Config) -> list[Check]:
    """Judge both ports and the limit of open files."""
    ports = (
        Port("BRIDGE_PORT", config.host, config.port, "/healthz"),
        Port("BRIDGE_ADMIN_PORT", config.admin_host, config.admin_port, "/readyz"),
    )
    with contextlib.ExitStack() as taken:
        refused = {port: error for port in ports if (error := _refusal(port, taken)) is not None}
    # One of a bridge that runs is as it should be; one of two is of another bridge.
    runs = len(refused) == len(ports) and all([await _is_bridge(port) for port in ports])
    checks = [check_port(port, None if runs else refused.get(port), runs=runs) for port in ports]
    if config.port == config.admin_port != 0 and not runs:
        fix = f"export BRIDGE_ADMIN_PORT={free_port()}"
        says = f"both ports are {config.port}: the admin port is another one"
        checks[1] = bad("port", says, fix, "shell", subject=ports[1].setting)
    elif config.admin_host in _EVERYWHERE and checks[1].status == "ok":
        where = f"{config.admin_host}:{config.admin_port}"
        says = f"{where} is reached from every network that leads here, and /connections names users"
        fix = "export BRIDGE_ADMIN_HOST=127.0.0.1   # or the address of a private network"
        checks[1] = bad("port", says, fix, "shell", subject=ports[1].setting, status="warning")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return [*checks, check_files(hard, config.max_connections)]


def _refusal(port: Port, taken: contextlib.ExitStack) -> OSError | None:
    try:
        taken.enter_context(contextlib.closing(bind(port.host, port.number)))
    except OSError as error:
        return error
    return None


def check_port(port: Port, error: OSError | None, *, runs: bool) -> Check:
    """Judge one port by what listening on it came to."""
    where = f"{port.host}:{port.number}"
    if runs:
        return ok("port", f"a bridge runs there ({where})", port.setting)
    if error is None:
        return ok(
            "port", f"{where} is free to listen on" if port.number else "0 takes a free one", port.setting
        )
    if error.errno == errno.EADDRINUSE:
        fix = f"export {port.setting}={free_port()}   # or end it: ss -ltnp 'sport = :{port.number}'"
        return bad("port", f"{where} is taken by another process", fix, "shell", subject=port.setting)
    if error.errno == errno.EACCES:
        says = f"port {port.number} is below 1024, which takes a privilege"
        return bad("port", says, f"export {port.setting}={free_port()}", "shell", subject=port.setting)
    name = port.setting.replace("PORT", "HOST")
    says = f"{port.host} is no address of this machine"
    return bad("port", says, f"export {name}=127.0.0.1", "shell", subject=port.setting)


async def _is_bridge(port: Port) -> bool:
    where = _EVERYWHERE.get(port.host, port.host)
    with contextlib.suppress(httpx.HTTPError, ValueError, AttributeError):
        async with httpx.AsyncClient(timeout=_ASK_TIMEOUT_S, trust_env=False) as client:
            address = f"[{where}]" if ":" in where else where
            answer = (await client.get(f"http://{address}:{port.number}{port.path}")).json()
            return bool(answer.get("status") == "ok" or "ready" in answer)
    return False


def check_files(hard: int, max_connections: int) -> Check:
    """Judge the hard limit of open files, to which the worker raises its own; systemd sets another."""
    needed = needed_files(max_connections)
    if suffices(hard, needed):
        return ok("open_files", f"{max_connections:,} connections fit into the limit of open files")
    says = (
        f"this shell allows {hard:,} open files, and BRIDGE_MAX_CONNECTIONS is {max_connections:,}: beyond "
        "the limit clients are not accepted (ops/systemd and ops/docker set their own)"
    )
    wanted = max(65_536, needed)
    fix = f"echo '* - nofile {wanted}' | sudo tee /etc/security/limits.d/bridge.conf   # then sign in again"
    return bad("open_files", says, fix, "shell", status="warning")
