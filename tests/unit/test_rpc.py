"""Calls of the worker's functions, against an endpoint that answers as it is told."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from bridge.errors import AskedTimeoutError, RpcError
from bridge.events import Principal
from bridge.rpc import ASKED_AT_ONCE, ProjectRpc


class Endpoint:
    """Answers every call with the same.

    Attributes:
        status: HTTP status.
        body: What it answers, as JSON; None to answer nothing at all.
        calls: Path and arguments of each call.
        answered: After so many calls it answers no more; -1 for always.
    """

    def __init__(self) -> None:
        self.status = 200
        self.answered = -1
        self.body: Any = None
        self.answers = True
        self.calls: list[tuple[str, Any]] = []
        self.quiet = asyncio.Condition()
        self._open = 0

    async def until_quiet(self) -> None:
        """Wait until every connection has been closed."""
        async with asyncio.timeout(5), self.quiet:
            await self.quiet.wait_for(lambda: not self._open)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            await self._answer(reader, writer)
        finally:
            self._open -= 1
            async with self.quiet:
                self.quiet.notify_all()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        arguments = json.loads(await reader.readexactly(length))
        self.calls.append((head.split(" ")[1], arguments))
        if self.answers and len(self.calls) != self.answered + 1:
            body = json.dumps(self.body).encode()
            start = f"HTTP/1.1 {self.status} x\r\nContent-Type: application/json\r\n"
            writer.write(f"{start}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        else:
            await reader.read()  # until the caller gives up
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def _rpc(endpoint: Endpoint, *, timeout_s: float = 5) -> AsyncIterator[ProjectRpc]:
    async with await asyncio.start_server(endpoint.answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        rpc = await ProjectRpc.connect(f"http://127.0.0.1:{port}", "canary-key", timeout_s=timeout_s)
        try:
            yield rpc
        finally:
            await rpc.close()
            await endpoint.until_quiet()


async def test_rows_keep_their_digits():
    """A bigint beyond 2^53 and a long numeric are exact; what a float can hold is one."""
    endpoint = Endpoint()
    endpoint.body = '[{"big": 9007199254740993, "exact": 0.1234567890123456789012, "short": 1.5}]'
    async with _rpc(endpoint) as rpc:
        rows = await rpc.rows("public.t", after=None, max_rows=10, columns=None)
    assert rows == [{"big": 9007199254740993, "exact": Decimal("0.1234567890123456789012"), "short": 1.5}]
    assert endpoint.calls == [("/rest/v1/rpc/bridge_rows", {"table": "public.t", "max_rows": 10})]


async def test_a_page_starts_after_a_key_and_has_some_columns():
    """The key goes back as it came: a Decimal as its digits."""
    endpoint = Endpoint()
    async with _rpc(endpoint) as rpc:
        key = {"a": 9007199254740993, "n": Decimal("0.12345678901234567890")}
        assert await rpc.rows("public.t", after=key, max_rows=2, columns=("a", "n")) == []
    _, arguments = endpoint.calls[0]
    assert arguments["after"] == {"a": 9007199254740993, "n": "0.12345678901234567890"}
    assert arguments["columns"] == ["a", "n"]


async def test_a_row_that_is_gone_is_none():
    """A null is no row; a row is decoded."""
    endpoint = Endpoint()
    async with _rpc(endpoint) as rpc:
        assert await rpc.row("public.t", {"id": 1}) is None
        endpoint.body = '{"id": 1}'
        assert await rpc.row("public.t", {"id": 1}) == {"id": 1}
    assert endpoint.calls[0] == ("/rest/v1/rpc/bridge_row", {"table": "public.t", "pk": {"id": 1}})


async def test_the_catalog_is_handed_on_as_text():
    """Decoding it is authorization's business; that there is none is said."""
    endpoint = Endpoint()
    endpoint.body = '{"tables": []}'
    async with _rpc(endpoint) as rpc:
        assert await rpc.catalog() == '{"tables": []}'
        endpoint.body = None
        with pytest.raises(RpcError, match="apply sql/migrations again"):
            await rpc.catalog()


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (404, "PGRST202", "apply sql/migrations"),
        (401, "PGRST301", "does not belong to this project, or has expired"),
        (401, "PGRST303", "does not belong to this project, or has expired"),
        (403, "42501", "lacks a grant"),
        (500, "57014", "the project is busy"),
        (401, None, "the gateway refused it, check SUPABASE_SERVICE_ROLE_KEY"),
        (500, "XX000", "Postgres log"),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, code: str | None, advice: str):
    """By the code of PostgREST or Postgres, which a gateway does not give; details, which may quote a row, are left out."""
    endpoint = Endpoint()
    endpoint.status = status
    endpoint.body = {"code": code, "message": "no\ncanary", "details": "canary", "hint": "canary"}
    async with _rpc(endpoint) as rpc:
        with pytest.raises(RpcError, match=advice) as raised:
            await rpc.row("public.t", {"id": 1})
    assert (code or "no code") in str(raised.value)
    assert "canary" not in str(raised.value)


async def test_a_data_exception_is_not_quoted():
    """Its message holds the value that Postgres did not like."""
    endpoint = Endpoint()
    endpoint.status = 400
    endpoint.body = {"code": "22P02", "message": 'invalid input syntax for type uuid: "canary"'}
    async with _rpc(endpoint) as rpc:
        with pytest.raises(RpcError, match="22P02") as raised:
            await rpc.row("public.t", {"id": "canary"})
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    "body", [[1, 2], {"id": 1}, '{"id": "canary"', '["canary"]', '{"n": 1e99999999999999999999}']
)
async def test_another_form_than_known_is_an_error(body: Any):
    """Not text, no JSON, no rows, no number: said without what was found."""
    endpoint = Endpoint()
    endpoint.body = body
    async with _rpc(endpoint) as rpc:
        with pytest.raises(RpcError, match="another form") as raised:
            await rpc.row("public.t", {"id": 1})
    assert "canary" not in str(raised.value)


async def test_an_endpoint_that_does_not_answer_is_given_up():
    """After the time for one call, with the advice to wait."""
    endpoint = Endpoint()
    endpoint.answers = False
    async with _rpc(endpoint, timeout_s=0.2) as rpc:
        with pytest.raises(RpcError, match="did not answer in time"):
            await rpc.catalog()


ASKED = [Principal(role="anon", user_id=None, claims_json=str(n)) for n in range(ASKED_AT_ONCE + 1)]


async def test_policies_that_take_too_long_are_told_from_a_database_that_is_away():
    """The statement was ended on a database that lives; only of `bridge_visible` that means something else."""
    endpoint = Endpoint()
    endpoint.status, endpoint.body = 500, {"code": "57014", "message": "canceling statement"}
    async with _rpc(endpoint) as rpc:
        with pytest.raises(AskedTimeoutError, match="57014"):
            await rpc.visible("public.t", [{"id": 1}], ASKED[:1])
        with pytest.raises(RpcError) as raised:
            await rpc.row("public.t", {"id": 1})
        assert not isinstance(raised.value, AskedTimeoutError)
        endpoint.status, endpoint.body = 503, {"code": "PGRST003", "message": "no connection"}
        with pytest.raises(RpcError) as raised:
            await rpc.visible("public.t", [{"id": 1}], ASKED[:1])
        assert not isinstance(raised.value, AskedTimeoutError)


@pytest.mark.parametrize(("answered", "code"), [(0, "rpc"), (1, "asked_timeout")])
async def test_all_users_are_asked_about_within_the_time_of_one_call(answered: int, code: str):
    """Whether the database lives is known once it has answered for some."""
    endpoint = Endpoint()
    endpoint.body, endpoint.answered = json.dumps({"rows": [[0]] * ASKED_AT_ONCE, "current": [0]}), answered
    async with _rpc(endpoint, timeout_s=0.5) as rpc:
        with pytest.raises(RpcError, match=r"in time|for 500 of 501 users within 0\.5 s") as raised:
            await rpc.visible("public.t", [{"id": 1}], ASKED)
    assert raised.value.code == code
    assert len(endpoint.calls) == answered + 1


async def test_nobody_listening_is_said():
    """With what to check."""
    endpoint = Endpoint()
    async with _rpc(endpoint) as rpc:
        pass
    rpc = await ProjectRpc.connect(str(rpc._client.supabase_url), "k")
    try:
        with pytest.raises(RpcError, match=r"ConnectError: .*check SUPABASE_URL"):
            await rpc.catalog()
    finally:
        await rpc.close()


async def test_a_host_that_has_no_address_is_told_apart():
    """A misspelt project is not one that is down."""
    rpc = await ProjectRpc.connect("http://nowhere.invalid", "k")
    try:
        with pytest.raises(RpcError, match=r"ConnectError: \[Errno -?\d+\] "):
            await rpc.catalog()
    finally:
        await rpc.close()


async def test_no_logger_shows_the_key_or_a_row(caplog: pytest.LogCaptureFixture):
    """At debug level for every logger of the standard library, also when the call fails."""
    endpoint = Endpoint()
    endpoint.body = '{"id": "canary-row"}'
    with caplog.at_level(logging.DEBUG):
        async with _rpc(endpoint) as rpc:
            await rpc.row("public.t", {"id": "canary-pk"})
            endpoint.status, endpoint.body = 500, {"code": "XX000", "message": "canary-message"}
            with pytest.raises(RpcError):
                await rpc.row("public.t", {"id": "canary-pk"})
    assert "canary" not in caplog.text
