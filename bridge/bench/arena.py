"""Servers that are measured side by side: each fed on its standard input, on a core of its own."""

import asyncio
import datetime as dt
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from bridge.bench import programs
from bridge.bench.cores import load_core, pinned, server_core
from bridge.bench.plan import Client, Message, Plan, masked, upgrade
from bridge.bench.stage import environment
from bridge.bench.wire import SlotWriter, ready_message
from bridge.bench.worker import python
from bridge.bench.world import user_id
from bridge.clock import SystemClock
from bridge.descriptors import needed_files, raise_limit
from bridge.errors import SourceError
from bridge.local.realtime import Timing
from bridge.local.stack import LocalStack
from bridge.migration.state import files

START_S = 60.0
TOKEN_TTL_S = 3600
SERVERS = ("bridge", "node-ws", "bun", "c")
KEEP_ALIVE_S = 5.0

LOOP_MESSAGES = 5_000
"""Of those servers that do not mind to be fed the same again."""

OWNER = user_id(99_999_999)
"""Owns the dialogs, and is nobody's who connects."""

NOTICES = 3
"""What the bridge sends to a client before events: connected, status, subscribed."""


_NO_REALTIME = Timing(poll_s=1e6)
"""The bridge is fed; a slot that is read ten times a second takes the load generator's core from it."""


class World(msgspec.Struct, frozen=True):
    """Users, and who of them is in which dialog.

    Attributes:
        users: How many.
        groups: The members of each dialog, as numbers of users.
    """

    users: int
    groups: Sequence[Sequence[int]]

    def dialog_id(self, group: int) -> str:
        """Return the id of a dialog."""
        return user_id(1_000_000 + group)


class Running(msgspec.Struct):
    """A server that runs.

    Attributes:
        name: One of ``SERVERS``.
        pid: Its process.
        port: Where it listens.
        feed: The other end of its standard input.
        world: Who may connect.
        stack: Of whom their tokens are.
        slot: Writes the bridge's input; None for the others.
        clients: A client for each user.
        is_fed: True while a load generator has the feed.
    """

    name: str
    pid: int
    port: int
    feed: socket.socket
    world: World
    folder: Path
    slot: SlotWriter | None
    clients: list[Client]
    is_fed: bool = False

    def plan(self, groups: Sequence[int], *, clients: Sequence[Client] | None = None) -> Plan:
        """Return a plan that feeds a message to each of ``groups``, in order."""
        world, slot = self.world, self.slot
        if slot is not None:
            fed = [Message(group, slot.message(world.dialog_id(group))) for group in groups]
            keepalive = slot.keepalive
        else:
            some = groups[:LOOP_MESSAGES]
            fed = [Message(g, ready_message(g, n, world.dialog_id(g))) for n, g in enumerate(some)]
            keepalive = b""
        return Plan(clients or self.clients, world.groups, fed, loops=slot is None, keepalive=keepalive)

    def skip_unfed(self, plan: Plan, fed: int) -> None:
        """Give ids that were not fed to what follows: one that is missing would be waited for."""
        if self.slot is not None:
            self.slot.next_id -= len(plan.messages) - fed

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Arena:
    """What servers are started in."""

    def __init__(
        self,
        stack: LocalStack,
        world: World,
        folder: Path,
        exits: AsyncExitStack,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._tasks = tasks
        self.world = world
        self.stack = stack
        self._folder = folder
        self._exits = exits

    async def bridge(self, **settings: str) -> Running:
        """Start the bridge, fed as over a replication slot; clients ask for ``BRIDGE_COMPRESSION``."""
        compression = os.environ.get("BRIDGE_COMPRESSION", "off")
        variables = {
            "BRIDGE_COMPRESSION": compression,
            "SUPABASE_URL": self.stack.url,
            "SUPABASE_DB_URL": self.stack.database_url,
            "BRIDGE_UPSTREAM": "wal",
            "BRIDGE_PORT": "0",
            "BRIDGE_ADMIN_PORT": "0",
            **settings,
        }
        running = await self._start("bridge", python("bridge.bench.fed"), environment(self.stack, variables))
        async with await psycopg.AsyncConnection.connect(self.stack.database_url) as connection:
            cursor: Any = await connection.execute("select coalesce(max(id), 0) from bridge.journal")
            (last_id,) = await cursor.fetchone()
        running.slot = SlotWriter(last_id + 1, SystemClock().now())
        hello = masked(b'{"type":"subscribe"}')
        extension = "" if compression == "off" else f"permessage-{compression}"
        running.clients = [
            Client(
                upgrade("/ws", "bridge.v1", f"bearer.{self.token(user)}", extension=extension), hello, NOTICES
            )
            for user in range(self.world.users)
        ]
        keeping = _keep_alive(running, running.slot.keepalive)
        self._exits.callback(self._tasks.create_task(keeping, name="keep-alive").cancel)
        return running

    async def other(self, name: str) -> Running | str:
        """Start another server; or say why it cannot be had."""
        groups = self._folder / "groups"
        groups.write_text("".join(" ".join(map(str, members)) + "\n" for members in self.world.groups))
        match name:
            case "node-ws":
                command = await asyncio.to_thread(programs.node_command)
            case "bun":
                command = await asyncio.to_thread(programs.bun_command)
            case _:
                command = [str(programs.compiled("plain"))]
        if isinstance(command, str):
            return command
        running = await self._start(name, [*command, str(groups), str(self.world.users)], dict(os.environ))
        running.clients = [Client(upgrade(f"/?user={user}")) for user in range(self.world.users)]
        return running

    def token(self, user: int) -> str:
        """Return a user's token."""
        return self.stack.token(user_id(user), ttl_s=TOKEN_TTL_S)

    async def _start(self, name: str, command: Sequence[str], variables: Mapping[str, str]) -> Running:
        ours, theirs = socket.socketpair()
        errors_path = self._folder / f"{name}.log"
        with pinned(server_core()), errors_path.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs.fileno(), stdout=asyncio.subprocess.PIPE, stderr=errors, env=variables
            )
        theirs.close()
        self._exits.push_async_callback(_end, process, ours)
        try:
            async with asyncio.timeout(START_S):
                line = await _line(process)
        except TimeoutError:
            line = ""
        if not line:
            raise SourceError(f"{name} did not start: {_last_line(errors_path)}")
        return Running(name, process.pid, int(line), ours, self.world, self._folder, None, [])


async def _line(process: asyncio.subprocess.Process) -> str:
    """Return the next line that it prints; nothing if it has ended."""
    return "" if process.stdout is None else (await process.stdout.readline()).decode().strip()


async def _keep_alive(running: Running, keepalive: bytes) -> None:
    """Show the bridge that its feed lives while others are measured; else it would give it up after 30 s."""
    while True:
        await asyncio.sleep(KEEP_ALIVE_S)
        if not running.is_fed:
            running.feed.send(keepalive)


async def _end(process: asyncio.subprocess.Process, feed: socket.socket) -> None:
    feed.close()
    if process.returncode is None:
        process.kill()  # nobody is connected any more to be told goodbye
    await process.wait()


def _last_line(path: Path) -> str:
    lines = path.read_text().splitlines()
    return lines[-1] if lines else "it did not say why"


@asynccontextmanager
async def arena(world: World) -> AsyncIterator[Arena]:
    """Make a place for servers: a database with the world's memberships.

    Raises:
        SourceError: it did not start.
        ConfigError: there is no compiler for the load generator.
    """
    programs.compiled("load")
    raise_limit(needed_files(world.users))  # of what is started here, too
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="bridge-bench-") as folder:
        async with AsyncExitStack() as exits:
            exits.callback(os.sched_setaffinity, 0, before)
            server_core()  # noted before this process leaves it
            if (core := load_core()) is not None:
                os.sched_setaffinity(0, {core})
            stack = await exits.enter_async_context(LocalStack(timing=_NO_REALTIME))
            await stack.apply_sql(files())
            await _found(stack.database_url, world)
            tasks = await exits.enter_async_context(asyncio.TaskGroup())
            yield Arena(stack, world, Path(folder), exits, tasks)


async def _found(database_url: str, world: World) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = connection.cursor()
        now = dt.datetime.now(dt.UTC).isoformat()
        async with cursor.copy("copy public.dialogs (id, owner_id, title, created_at) from stdin") as copy:
            for group in range(len(world.groups)):
                await copy.write_row((world.dialog_id(group), OWNER, "a dialog", now))
        async with cursor.copy("copy public.dialog_participants (dialog_id, user_id) from stdin") as copy:
            for group, members in enumerate(world.groups):
                for user in members:
                    await copy.write_row((world.dialog_id(group), user_id(user)))
