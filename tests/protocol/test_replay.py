"""The local Realtime against recordings of a real one (v2.122.0): the same frames, in the same order."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from bridge.local.realtime import Timing
from bridge.local.stack import LocalStack
from tests.protocol.compare import comparable, parse
from tests.support.stack import local_stack

HERE = Path(__file__).parent
RECORDINGS = sorted((HERE / "recordings").glob("*.jsonl"))
SCHEMA = (HERE / "schema.sql").read_bytes()
POLL_S = 0.05
LOOKED_S = 0.5
"""Time within which the server has certainly polled."""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalStack]:
    """A stack without migrations, quick in everything that a real server takes seconds for."""
    timing = Timing(poll_s=POLL_S, refused_join_s=0.1, refused_apikey_s=0.1, refresh_s=0.1)
    with local_stack(timing=timing, migrations=False) as stack:
        yield stack


class Replay:
    """Plays one recording: sends what was sent, writes what was written, compares what comes."""

    def __init__(self, stack: LocalStack, writers: list[psycopg.AsyncConnection[Any]]) -> None:
        self._stack = stack
        self._writers = writers
        self._recorded: list[Decimal] = []
        self._ours: list[Decimal] = []

    def _token(self, spec: Any) -> str:
        """Mint a token like the recorded one."""
        if isinstance(spec, str):
            return spec
        if spec.get("bad_signature"):
            return LocalStack().token(spec.get("sub"), role=spec["role"])
        if "role" not in spec:
            import jwt

            return jwt.encode({"exp": 4102444800}, self._stack.jwt_secret, algorithm="HS256")
        return self._stack.token(spec.get("sub"), role=spec["role"], ttl_s=spec["ttl_s"])

    def url(self, apikey: Any) -> str:
        """Return the address to connect to."""
        return f"{self._stack.url.replace('http', 'ws')}/realtime/v1/websocket?vsn=1.0.0&apikey={self._token(apikey)}"

    async def step(self, socket: ClientConnection, step: dict[str, Any], following: dict[str, Any]) -> None:
        """Play one line of the recording."""
        if "send" in step:
            frame = step["send"]
            if "access_token" in frame["payload"]:
                frame["payload"]["access_token"] = self._token(frame["payload"]["access_token"])
            await socket.send(json.dumps(frame))
        elif "sql" in step:
            for sql in step["sql"]:
                second = sql.startswith("2: ")
                await self._writers[second].execute(sql.removeprefix("2: "))
            if "expect" not in following and "expect_cut" not in following:
                await asyncio.sleep(LOOKED_S)  # nothing may come of it: let the server have looked
        elif "expect" in step:
            async with asyncio.timeout(5):
                frame = str(await socket.recv())
            ours, recorded = comparable(frame, self._ours), comparable(step["expect"], self._recorded)
            assert ours["payload"] == recorded["payload"]
            assert ours == recorded
        elif "expect_cut" in step:
            async with asyncio.timeout(5):
                frame = str(await socket.recv())
            assert parse(frame)["payload"]["data"]["errors"] == step["expect_cut"]["errors"]
            # The recording keeps the length only: values of this size decide it, keys and blanks hardly.
            assert len(frame.encode()) == pytest.approx(step["expect_cut"]["bytes"], rel=0.001)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
async def test_the_local_realtime_says_what_the_real_one_said(server: LocalStack, recording: Path):
    """Frame by frame, and nothing more at the end."""
    steps = [json.loads(line) for line in recording.read_text().splitlines()]  # noqa: ASYNC240
    async with (
        await psycopg.AsyncConnection.connect(server.database_url, autocommit=True) as first,
        await psycopg.AsyncConnection.connect(server.database_url, autocommit=True) as second,
    ):
        await first.execute(SCHEMA)
        await asyncio.sleep(LOOKED_S)  # what the schema inserts is none of the recording
        replay = Replay(server, [first, second])
        opening, *rest = steps
        if "refused" in rest[0]:
            with pytest.raises(InvalidStatus) as refused:
                await connect(replay.url(opening["connect"]))
            assert refused.value.response.status_code == rest[0]["refused"]
            assert json.loads(refused.value.response.body or b"") == rest[0]["body"]
            return
        async with connect(replay.url(opening["connect"]), max_size=None) as socket:
            for step, following in zip(rest, [*rest[1:], {}], strict=True):
                await replay.step(socket, step, following)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(LOOKED_S):
                    pytest.fail(f"more than was recorded: {await socket.recv()!r}"[:300])


@pytest.mark.parametrize(
    ("ours", "same"),
    [
        ('"record":{"id":1,"n":1.50},"commit_timestamp":"2026-01-01T00:00:00.001Z"', True),
        ('"record":{"id":1,"n":1.51},"commit_timestamp":"2026-01-01T00:00:00.001Z"', False),
        ('"record":{"id":"1","n":1.50},"commit_timestamp":"2026-01-01T00:00:00.001Z"', False),
        ('"record":{"id":1},"commit_timestamp":"2026-01-01T00:00:00.001Z"', False),
        ('"record":{"id":1,"n":1.50},"commit_timestamp":"yesterday"', False),
    ],
)
def test_the_comparison_notices_a_broken_value(ours: str, same: bool):  # noqa: FBT001
    """A digit, a type, a missing key, a time of another form."""
    form = '{{"event":"postgres_changes","payload":{{"ids":[],"data":{{{}}}}}}}'
    recorded = '"record":{"id":1,"n":1.5},"commit_timestamp":"2026-11-23T06:36:40.866Z"'
    assert (comparable(form.format(ours), []) == comparable(form.format(recorded), [])) is same
