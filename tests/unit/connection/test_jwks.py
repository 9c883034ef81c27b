"""The project's public keys, fetched from a server that does not always answer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.clock import ManualClock
from bridge.connection import ProjectKeys
from bridge.connection.jwks import MAX_AGE_S
from bridge.errors import InvalidTokenError


class Endpoint:
    """Serves the key set, counts requests.

    Attributes:
        body: What it answers; None for an error.
    """

    def __init__(self) -> None:
        self.body: bytes | None = key_set("k1")
        self.requests: list[bytes] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(request.split(b" ")[1])
        status = b"503 no" if self.body is None else b"200 OK"
        body = self.body or b""
        writer.write(
            b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
        )
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def key_set(*ids: str) -> bytes:
    keys = []
    for kid in ids:
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        keys.append(jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True) | {"kid": kid, "alg": "ES256"})
    return json.dumps({"keys": keys}).encode()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Endpoint, ProjectKeys, ManualClock]]:
    endpoint, clock = Endpoint(), ManualClock()
    server = await asyncio.start_server(endpoint.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield endpoint, ProjectKeys(f"http://127.0.0.1:{port}/", clock=clock), clock


async def test_a_key_is_at_hand_once_it_has_been_fetched():
    """For its algorithm, and until the keys are old: then somebody has to wait for them."""
    async with serving() as (endpoint, keys, clock):
        assert keys.at_hand("k1", "ES256") is None
        found = await keys.key("k1", "ES256")
        assert keys.at_hand("k1", "ES256") is found
        assert keys.at_hand("k1", "RS256") is None
        assert keys.at_hand("k2", "ES256") is None
        clock.advance(MAX_AGE_S)
        assert keys.at_hand("k1", "ES256") is None
        assert len(endpoint.requests) == 1


async def test_a_key_is_fetched_once():
    """However many tokens name it at the same time."""
    async with serving() as (endpoint, keys, _), asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(keys.key("k1", "ES256"))
    assert endpoint.requests == [b"/auth/v1/.well-known/jwks.json"]


async def test_unknown_ids_do_not_become_requests():
    """One fetch in 30 s; after that a key that was added is found."""
    async with serving() as (endpoint, keys, clock):
        for kid in ("k2", "k3", "k4"):
            with pytest.raises(InvalidTokenError, match="not of this project"):
                await keys.key(kid, "ES256")
        assert len(endpoint.requests) == 1
        endpoint.body = key_set("k1", "k2")
        clock.advance(30)
        assert await keys.key("k2", "ES256")
        assert len(endpoint.requests) == 2


async def test_a_revoked_key_does_not_count_for_ever():
    """Keys are fetched again after ten minutes, without an unknown one being named."""
    async with serving() as (endpoint, keys, clock):
        await keys.key("k1", "ES256")
        endpoint.body = key_set("k2")
        clock.advance(599)
        assert await keys.key("k1", "ES256")
        clock.advance(1)
        with pytest.raises(InvalidTokenError):
            await keys.key("k1", "ES256")
        assert len(endpoint.requests) == 2


async def test_old_keys_count_while_the_endpoint_is_away():
    """It is asked every 30 s, by one client at a time."""
    async with serving() as (endpoint, keys, clock):
        await keys.key("k1", "ES256")
        endpoint.body = None
        clock.advance(600)
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(keys.key("k1", "ES256")) for _ in range(5)]
        assert all(task.result() for task in asked)
        assert len(endpoint.requests) == 2
        clock.advance(30)
        assert await keys.key("k1", "ES256")
        assert len(endpoint.requests) == 3


async def test_a_key_is_good_for_its_own_algorithm_only():
    """The token does not choose."""
    async with serving() as (_, keys, _):
        with pytest.raises(InvalidTokenError):
            await keys.key("k1", "RS256")


@pytest.mark.parametrize(
    "body", [None, b"", b"[]", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"none"}]}', b'{"keys":5}']
)
async def test_known_keys_are_kept_while_the_endpoint_is_away(body: bytes | None):
    """An error, or an answer that makes no sense, takes nothing away."""
    async with serving() as (endpoint, keys, clock):
        await keys.key("k1", "ES256")
        endpoint.body = body
        clock.advance(30)
        with pytest.raises(InvalidTokenError):
            await keys.key("k2", "ES256")
        assert len(endpoint.requests) == 2
        assert await keys.key("k1", "ES256")


async def test_a_project_that_cannot_be_reached_has_no_keys():
    """The token is refused, nothing else happens."""
    async with serving() as (_, keys, _):
        pass
    with pytest.raises(InvalidTokenError):
        await keys.key("k1", "ES256")
