"""Two ports: opened, served, left in order."""

import asyncio
import socket

import httpx
import pytest

from tests.support.bridge import Bridge, running_bridge


async def test_a_port_that_is_taken_is_named():
    """The message says which; nothing stays open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
            Bridge(port=port)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
            Bridge(admin_port=port)


async def test_both_ports_serve_until_the_server_is_closed():
    """Afterwards both are free again."""
    async with running_bridge() as bridge, httpx.AsyncClient() as http:
        ports = bridge.server.port, bridge.server.admin_port
        assert ports[0] != ports[1]
        for url in (bridge.url, bridge.admin_url):
            assert (await http.get(f"{url}/healthz")).status_code == 200
    for port in ports:
        with socket.create_server(("127.0.0.1", port), reuse_port=False):
            pass


async def test_an_address_of_ipv6_can_be_served():
    """Where the machine has it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return  # not here
    async with running_bridge(host="::1") as bridge, httpx.AsyncClient() as http:
        assert (await http.get(f"http://[::1]:{bridge.server.port}/healthz")).status_code == 200


async def test_a_server_without_clients_drains_at_once():
    """Not after the timeout."""
    async with running_bridge() as bridge:
        bridge.server.stop_accepting()
        port = bridge.server.port
        async with asyncio.timeout(2):
            await bridge.server.drain(30)
        assert bridge.server.port == port  # the worker may say that it is ready all the same


async def test_work_of_a_server_that_does_not_run_is_dropped():
    """Nobody would own it."""
    bridge = Bridge()
    ran = False

    async def work() -> None:
        nonlocal ran
        ran = True

    bridge.server._spawn(work())
    for bound in bridge.server._sockets:
        bound.close()
    await asyncio.sleep(0)
    assert not ran


async def test_a_server_that_shares_its_ports_leaves_both_to_its_successor():
    """While it drains, whoever asks for readiness is answered by the one that stays."""
    # Who had been handed to the former's backlog is refused once more.
    again = httpx.AsyncHTTPTransport(retries=3)
    async with running_bridge(shares_ports=True) as former, httpx.AsyncClient(transport=again) as http:
        ports = {"port": former.server.port, "admin_port": former.server.admin_port}
        async with running_bridge(shares_ports=True, **ports) as successor:
            former.server.stop_accepting()
            successor.readiness.append("not yet")
            for _ in range(10):
                answer = await http.get(f"{former.admin_url}/readyz", headers={"Connection": "close"})
                assert answer.json()["reasons"] == ["not yet"]
                assert (await http.get(f"{former.url}/healthz")).status_code == 200
