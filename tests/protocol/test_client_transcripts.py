"""Transcripts of the browser client's conversations, played by the test against the real server.

tests/client/transcripts.test.ts plays the same files with the real client against a test that is the server: what
one side expects is what the other one does.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bridge.position import Position
from tests.support.bridge import Bridge, running_bridge, token

TRANSCRIPTS = {
    path.stem: [json.loads(line) for line in path.read_text().splitlines()]
    for path in sorted((Path(__file__).parent / "client").glob("*.jsonl"))
}


class Names:
    """What ``$name`` stands for: bound where it is met first, compared after that.  ``*`` is anything."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}

    def fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.fill(inner) for key, inner in value.items()}
        return self.bound[value] if isinstance(value, str) and value.startswith("$") else value

    def matches(self, expected: Any, actual: Any) -> bool:
        if isinstance(expected, str) and expected.startswith("$"):
            return bool(self.bound.setdefault(expected, actual) == actual)
        if isinstance(expected, dict) and isinstance(actual, dict):
            same_keys = expected.keys() == actual.keys()
            return same_keys and all(self.matches(expected[key], actual[key]) for key in expected)
        if isinstance(expected, list) and isinstance(actual, list):
            return len(expected) == len(actual) and all(map(self.matches, expected, actual))
        return bool(expected in ("*", actual))


class Player:
    """Plays the client of a transcript."""

    def __init__(self, bridge: Bridge, tasks: asyncio.TaskGroup) -> None:
        self.bridge = bridge
        self.tasks = tasks
        self.names = Names()
        self.socket: ClientConnection | None = None
        self.token = token()

    async def play(self, line: dict[str, Any]) -> None:
        match line:
            case {"do": what}:
                await self.do(what, line)
            case {"server": expected}:
                assert self.socket is not None
                actual = json.loads(await self.socket.recv())
                assert self.names.matches(expected, actual), (expected, actual, self.names.bound)
            case {"client": message}:
                assert self.socket is not None
                await self.socket.send(json.dumps(self.names.fill(message)))
            case {"close": code}:
                assert self.socket is not None
                with pytest.raises(ConnectionClosed):
                    await self.socket.recv()
                assert self.socket.close_code == code
            case {"poll": query, "answer": expected}:
                async with httpx.AsyncClient(base_url=self.bridge.url) as http:
                    headers = {"Authorization": f"Bearer {self.token}"}
                    answer = await http.get("/poll", params=self.names.fill(query), headers=headers)
                assert self.names.matches(expected, answer.json()), (expected, answer.json())
            case {"page": _} | {"want": _} | {"about": _}:
                pass  # the page's part
            case _:
                raise AssertionError(f"no such line: {line}")

    async def do(self, what: str, line: dict[str, Any]) -> None:
        match what:
            case "connect":
                subprotocols: Any = ["bridge.v1", f"bearer.{self.token}"]
                self.socket = await connect(self.bridge.ws_url, subprotocols=subprotocols)
            case "lose":
                assert self.socket is not None
                await self.socket.close()
            case "publish":
                self.bridge.publish(line["n"], dialog=line.get("dialog", "d1"))
            case "forget":
                self.bridge.hub.begin("t2", Position(0))  # as after a gap
                self.bridge.hub.open()
            case "resync":
                self.bridge.hub.resync(None, line["reason"])
            case "drain":
                self.bridge.server.stop_accepting()
                self.tasks.create_task(self.bridge.server.drain(0.5))
            case "block":
                pass
            case _:
                raise AssertionError(f"nothing that can be done: {what}")


@pytest.mark.parametrize("name", TRANSCRIPTS)
async def test_the_server_does_its_part(name: str):
    """Line by line: sends what the client expects, understands what the client sends."""
    async with running_bridge() as bridge, asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        player = Player(bridge, tasks)
        for number, line in enumerate(TRANSCRIPTS[name], 1):
            try:
                await player.play(line)
            except Exception as error:
                error.add_note(f"{name}.jsonl:{number}")
                raise
        if player.socket is not None:
            await player.socket.close()
