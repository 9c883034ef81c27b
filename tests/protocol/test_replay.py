"""The local Realtime against recordings of a real one (v2.122.0): the same frames, in the same order."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
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
            return jwt.encode({"exp": 4102444800}, self._stack.jwt_secret, algorithm="HS256")
        return self._stack.token(spec.get("sub"), role=spec["role"], ttl_s=spec["ttl_s"])

    def url(self, apikey: Any) -> str:
        """Return the address to connect to."""
        version = apikey.get("vsn", "1.0.0") if isinstance(apikey, dict) else "1.0.0"
        address = f"{self._stack.url.replace('http', 'ws')}/realtime/v1/websocket"
        return f"{address}?vsn={version}&apikey={self._token(apikey)}"

    async def settle(self) -> None:
        """Wait until the server has polled and delivered what has been written so far."""
        written = "select pg_logical_emit_message(true, 'settle', '')::text"
        polled = "select coalesce(min(confirmed_flush_lsn) >= %s, false) from pg_replication_slots"
        async with asyncio.timeout(10):
            for _ in range(2):  # the second poll begins when the changes of the first are delivered
                row = await (await self._writers[0].execute(written)).fetchone()
                done = False
                while not done:
                    await asyncio.sleep(POLL_S / 5)
                    (done,) = await (await self._writers[0].execute(polled, row)).fetchone() or (False,)

    @contextlib.contextmanager
    def _one_poll(self) -> Iterator[None]:
        """Have the server see what is written meanwhile at once: a real one polls less often than this."""
        assert self._stack.api_pid is not None
        os.kill(self._stack.api_pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._stack.api_pid, signal.SIGCONT)

    async def step(self, socket: ClientConnection, step: dict[str, Any], following: dict[str, Any]) -> None:
        """Play one line of the recording."""
        if "send" in step:
            frame = step["send"]
            payload = frame[4] if isinstance(frame, list) else frame["payload"]
            if "access_token" in payload:
                payload["access_token"] = self._token(payload["access_token"])
            await socket.send(json.dumps(frame))
        elif "sql" in step:
            for sql in step["sql"]:
                second = sql.startswith("2: ")
                await self._writers[second].execute(sql.removeprefix("2: "))
            if "expect" not in following and "expect_cut" not in following:
                await self.settle()  # nothing may come of it
        elif "expect" in step:
            async with asyncio.timeout(5):
                frame = str(await socket.recv())
            ours, recorded = comparable(frame, self._ours), comparable(step["expect"], self._recorded)
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
        replay = Replay(server, [first, second])
        await replay.settle()  # what the schema inserts is none of the recording
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
            await replay.settle()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2 * POLL_S):
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


def _broken(value: Any) -> Iterator[Any]:
    """Every value that differs from ``value`` in one place: a scalar changed, or a key left out."""
    if isinstance(value, dict):
        for key in value:
            if key != "id" or "schema" not in value:  # the id of a binding
                yield {k: v for k, v in value.items() if k != key}
                for broken in _broken(value[key]):
                    yield {**value, key: broken}
    elif isinstance(value, list):
        for place, item in enumerate(value):
            for broken in _broken(item):
                yield [*value[:place], broken, *value[place + 1 :]]
    else:
        yield f"{value} but broken"


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_no_broken_frame_passes_for_the_recorded_one(recording: Path):
    """Whatever place of a recorded frame is changed, the comparison sees it (ids in the reply to a join aside)."""
    bindings: list[Decimal] = []
    for line in recording.read_text().splitlines():
        frame = json.loads(line).get("expect")
        if frame is None:
            continue
        recorded = comparable(frame, bindings)
        for broken in _broken(json.loads(frame)):
            try:
                assert comparable(json.dumps(broken), [*bindings]) != recorded
            except (LookupError, TypeError, ValueError, AttributeError):
                continue  # not even of the form
