"""Calls of the ``bridge_*`` functions (sql/) over the project's REST endpoint."""

import asyncio
import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Self, TypeVar

import httpx
import msgspec
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from bridge import metrics
from bridge.errors import AskedTimeoutError, RpcError
from bridge.events import Principal, Row, Seen
from bridge.journal import JournalHoles, JournalPage
from bridge.numbers import exact_number

# They log URLs and, on errors, response bodies, in which there are rows.
for _name in ("httpx", "httpcore", "postgrest", "supabase"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # noqa: TID251 - to silence it


T = TypeVar("T")

_rows = msgspec.json.Decoder(list[dict[str, Any]], float_hook=exact_number)
_row = msgspec.json.Decoder(dict[str, Any], float_hook=exact_number)
_journal_page = msgspec.json.Decoder(JournalPage)
_journal_holes = msgspec.json.Decoder(JournalHoles)
_seen = msgspec.json.Decoder(Seen)
_encoder = msgspec.json.Encoder(decimal_format="number")

ASKED_AT_ONCE = 500
"""Users whose policies one call of ``bridge_visible`` runs: well within the time that a call has."""


class ProjectRpc:
    """The functions that the worker calls, under the role of its key.

    Make it with :meth:`connect`; ``close`` it at the end.  All methods raise
    :class:`~bridge.errors.RpcError`, whose message says what to do.
    """

    def __init__(self, client: AsyncClient, http: httpx.AsyncClient, *, timeout_s: float) -> None:
        self._client = client
        self._http = http
        self._timeout_s = timeout_s

    @classmethod
    async def connect(
        cls, url: str, key: str, *, api_key: str | None = None, timeout_s: float = 10.0
    ) -> Self:
        """Return an RPC client; nothing is sent yet.

        Args:
            url: Base URL of the project.
            key: Key whose role the calls have.
            api_key: What the gateway is shown; the same unless given.
            timeout_s: Time for one call, and for all calls that one :meth:`visible` makes.
        """
        http = httpx.AsyncClient(timeout=timeout_s, limits=httpx.Limits(max_connections=8))
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        if api_key is not None:
            options.headers["Authorization"] = f"Bearer {key}"
        return cls(await acreate_client(url, api_key or key, options), http, timeout_s=timeout_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def catalog(self) -> str:
        """Return the JSON text of ``bridge_catalog()``."""
        answer = await self._call("bridge_catalog", {})
        if answer is None:
            raise RpcError("bridge_catalog() answered nothing: apply sql/migrations again")
        return answer

    async def catalog_marker(self) -> str:
        """Return a text that changes whenever the catalog may have changed."""
        answer = await self._call("bridge_catalog_marker", {})
        if answer is None:
            raise RpcError("bridge_catalog_marker() answered nothing: apply sql/migrations again")
        return answer

    async def rows(
        self, table: str, *, after: Row | None, max_rows: int, columns: Sequence[str] | None
    ) -> list[Row]:
        """Return rows of ``table`` in primary-key order.

        Args:
            table: Qualified name.
            after: Only those after this primary key; None from the first.
            max_rows: At most so many.
            columns: Only these columns; None for all.
        """
        arguments: dict[str, Any] = {"table": table, "max_rows": max_rows}
        if after is not None:
            arguments["after"] = _plain(after)
        if columns is not None:
            arguments["columns"] = list(columns)
        answer = await self._call("bridge_rows", arguments)
        return [] if answer is None else _decoded("bridge_rows", _rows, answer)

    async def row(self, table: str, key: Row) -> Row | None:
        """Return the row of ``table`` with primary key ``key`` as it is now; None when it is gone."""
        answer = await self._call("bridge_row", {"table": table, "pk": _plain(key)})
        return None if answer is None else _decoded("bridge_row", _row, answer)

    async def journal_since(self, after: int, holes: Sequence[tuple[int, int]], max_rows: int) -> JournalPage:
        """Return the rows of the journal after an id and those in the holes before it."""
        arguments = {"after": after, "holes": [list(hole) for hole in holes], "max_rows": max_rows}
        answer = await self._call("bridge_journal_since", arguments)
        if answer is None:
            raise _other_form("bridge_journal_since")
        return _decoded("bridge_journal_since", _journal_page, answer)

    async def journal_holes(self, after: int) -> JournalHoles:
        """Return which ids after a given one no row of the journal has."""
        answer = await self._call("bridge_journal_holes", {"after": after})
        if answer is None:
            raise _other_form("bridge_journal_holes")
        return _decoded("bridge_journal_holes", _journal_holes, answer)

    async def journal_before(self, age_s: float) -> int:
        """Return the id after which all rows of the journal of the last ``age_s`` seconds stand."""
        return await self._number("bridge_journal_before", {"age_s": age_s})

    async def prune_journal(self, keep_s: float) -> int:
        """Delete rows of the journal older than ``keep_s`` seconds, or some of them; return how many."""
        return await self._number("bridge_prune_journal", {"keep_s": keep_s})

    async def _number(self, function: str, arguments: dict[str, Any]) -> int:
        answer = (await self._answer(function, arguments)) or 0
        if not isinstance(answer, int):
            raise _other_form(function)
        return answer

    async def visible(self, table: str, rows: Sequence[Row], principals: Sequence[Principal]) -> Seen:
        """Return, for each principal, the positions of the ``rows`` that its policies show.

        The rows are those of changes: they need not be in ``table`` any more.

        Raises:
            AskedTimeoutError: the database lives, but the policies take too long.
        """
        answers: list[Seen] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._ask(table, rows, principals, answers)
        except TimeoutError:
            if not answers:
                raise _no_answer("bridge_visible") from None  # nothing says that the database lives
            count = sum(len(answer.rows) for answer in answers)
            raise AskedTimeoutError(
                f"bridge_visible() answered for {count} of {len(principals)} users "
                f"within {self._timeout_s:g} s: see `bridge explain {table}` for what is asked"
            ) from None
        seen = [found for answer in answers for found in answer.rows]
        if len(seen) != len(principals):
            raise _other_form("bridge_visible")
        return Seen(seen, frozenset(range(len(rows))).intersection(*(answer.current for answer in answers)))

    async def _ask(
        self, table: str, rows: Sequence[Row], principals: Sequence[Principal], answers: list[Seen]
    ) -> None:
        for start in range(0, len(principals), ASKED_AT_ONCE):
            some = principals[start : start + ASKED_AT_ONCE]
            arguments = {
                "table": table,
                "rows": _encoder.encode(rows).decode(),
                "principals": [{"role": p.role, "claims": p.claims_json} for p in some],
            }
            answer = await self._call("bridge_visible", arguments)
            if answer is None:
                raise _other_form("bridge_visible")
            answers.append(_decoded("bridge_visible", _seen, answer))

    async def _call(self, function: str, arguments: dict[str, Any]) -> str | None:
        answer = await self._answer(function, arguments)
        if answer is not None and not isinstance(answer, str):
            raise _other_form(function)
        return answer

    async def _answer(self, function: str, arguments: dict[str, Any]) -> Any:
        failures, duration = metrics.RPC_FAILURES.labels(function), metrics.RPC_DURATION.labels(function)
        with failures.count_exceptions(RpcError), duration.time():
            return await self._asked(function, arguments)

    async def _asked(self, function: str, arguments: dict[str, Any]) -> Any:
        try:
            return (await self._client.rpc(function, arguments).execute()).data
        except APIError as error:
            if function == "bridge_visible" and str(error.code) == "57014":
                raise AskedTimeoutError(
                    f"{function}() was ended by statement_timeout ({error.code}): "
                    f"see `bridge explain {arguments['table']}` for what is asked"
                ) from None
            raise RpcError(
                f"{function}() failed ({_reason(error)}): {_advice(error)}", answer=str(error.code or "401")
            ) from None
        except httpx.TimeoutException:
            raise _no_answer(function) from None
        except (httpx.HTTPError, ValueError) as error:
            # Other errors may quote a header, and the key with it; this one names host, port or certificate.
            why = f": {error}" if isinstance(error, httpx.ConnectError) else ""
            raise RpcError(
                f"{function}() could not be called ({type(error).__name__}{why}): "
                "check SUPABASE_URL, and that the project runs"
            ) from None


def _decoded(function: str, decoder: msgspec.json.Decoder[T], answer: str) -> T:
    try:
        return decoder.decode(answer)
    except (msgspec.MsgspecError, ArithmeticError, RecursionError):
        raise _other_form(function) from None  # what it expected, and found, may quote a row


def _no_answer(function: str) -> RpcError:
    return RpcError(f"{function}() did not answer in time: the project is busy or away, trying again")


def _other_form(function: str) -> RpcError:
    return RpcError(f"{function}() answered in another form than known: apply the sql/ of this version")


def _plain(key: Row) -> Row:
    """Return ``key`` with values that the client's JSON encoder knows."""
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in key.items()}


def _reason(error: APIError) -> str:
    # Only the code and the first line: details may quote a row, and so may a data exception (class 22)
    # and a violated constraint (23).
    code = str(error.code or "no code")
    message = "data exception" if code.startswith(("22", "23")) else error.message or "no message"
    return f"{code}: {message.splitlines()[0][:200]}"


def _advice(error: APIError) -> str:
    code = str(error.code or "")
    if code in ("PGRST202", "42883"):
        return "apply sql/migrations to the project's database"
    if code == "404":  # PostgREST says which function it misses
        return "no Supabase project answers there, check SUPABASE_URL"
    if code in ("PGRST301", "PGRST302", "PGRST303", "401"):
        return "SUPABASE_SERVICE_ROLE_KEY does not belong to this project, or has expired"
    if code == "42501":
        return "the key is not a service-role key, or its role lacks a grant: see `bridge check`"
    if code in ("57014", "PGRST003", "502", "503", "504"):
        return "the project is busy or away, trying again"
    if code.startswith("22"):
        return "a value that was given is none of its column's type"
    if not code:  # PostgREST and Postgres give one, the gateway in front of them does not
        return "the gateway refused it, check SUPABASE_SERVICE_ROLE_KEY and SUPABASE_URL"
    return "see the project's Postgres log"
