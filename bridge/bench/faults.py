"""What can go wrong: processes killed, frozen and restarted, connections cut, delayed and silent."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

import psycopg

from bridge.bench.balancer import Balancer
from bridge.bench.stage import Stage
from bridge.bench.worker import Worker
from bridge.bench.world import hold_transaction

Fault = Callable[[], Awaitable[None]]

_READER = "public.bridge_journal_since(bigint, jsonb, integer)"

# PostgREST answers with the status that a function raises.
_BROKEN = """
create or replace function public.bridge_journal_since(
    after bigint, holes jsonb default '[]', max_rows integer default 10000
) returns text language plpgsql as $$ begin raise sqlstate 'PT500' using message = 'a fault'; end $$
"""


class Faults:
    """The faults that there are, by name.

    Args:
        stage: What is running.
        random: Chooses.
        spare_workers: True to leave the workers' processes alone.
    """

    def __init__(self, stage: Stage, *, random: Random, spare_workers: bool) -> None:
        self._stage = stage
        self._proxies = (stage.api, stage.postgres)
        self._random = random
        self.all: dict[str, Fault] = {
            "realtime killed": self._kill_api,
            "postgres restarted": stage.local.restart_postgres,
            "upstream frozen": self._freeze_upstream,
            "upstream cut": self._cut_upstream,
            "upstream slow": self._slow_upstream,
            "long transaction": self._hold_transaction,
            "rpc error": self._break_rpc,
            "all clients cut": self._cut_clients,
            "clients half-open": self._vanish_clients,
        }
        if not spare_workers:
            self.all |= {
                "worker stopped": lambda: self._restart(signal.SIGTERM),
                "worker killed": lambda: self._restart(signal.SIGKILL),
                "worker frozen": self._freeze_worker,
            }

        if not spare_workers and any(len(worker.admin_ports) > 1 for worker in stage.workers):
            self.all |= {"process killed": self._kill_process, "worker reloaded": self._reload_worker}
        if stage.balancer is not None and len(stage.workers) > 1:
            self.all["clients moved"] = partial(self._move_clients, stage.balancer)

    def _worker(self) -> Worker:
        return self._random.choice(self._stage.workers)

    async def _kill_api(self) -> None:
        self._stage.local.kill_api()
        await asyncio.sleep(self._random.uniform(0.5, 3))
        await self._stage.local.start_api()

    async def _freeze_upstream(self) -> None:
        for proxy in self._proxies:
            proxy.freeze()
        await asyncio.sleep(self._random.uniform(1, 4))
        for proxy in self._proxies:
            proxy.thaw()

    async def _cut_upstream(self) -> None:
        for proxy in self._proxies:
            proxy.cut()

    async def _slow_upstream(self) -> None:
        for proxy in self._proxies:
            proxy.delay_s = 0.05
        await asyncio.sleep(self._random.uniform(1, 4))
        for proxy in self._proxies:
            proxy.delay_s = 0.0

    async def _hold_transaction(self) -> None:
        await hold_transaction(
            self._stage.local.database_url,
            self._stage.world,
            for_s=self._random.uniform(1, 4),
            commit=self._random.random() < 0.7,  # noqa: PLR2004 - some are rolled back
        )

    async def _cut_clients(self) -> None:
        for page in self._stage.pages:
            page.drop()

    async def _vanish_clients(self) -> None:
        for page in self._random.sample(self._stage.pages, max(1, len(self._stage.pages) // 10)):
            page.vanish()

    async def _break_rpc(self) -> None:
        """Have the journal answer with 500 whoever reads it."""
        url = self._stage.local.database_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            found = await connection.execute("select pg_get_functiondef(%s::regprocedure)", (_READER,))
            [definition] = await found.fetchone() or [""]
            await connection.execute(_BROKEN)
            try:
                await asyncio.sleep(self._random.uniform(1, 4))
            finally:
                await connection.execute(str(definition).encode())

    async def _restart(self, number: signal.Signals) -> None:
        worker = self._worker()
        await worker.end(number)
        await worker.start()

    async def _kill_process(self) -> None:
        for pid in self._random.sample(self._worker().children, 1):
            os.kill(pid, signal.SIGKILL)

    async def _reload_worker(self) -> None:
        os.kill(self._worker().pid, signal.SIGHUP)
        await asyncio.sleep(self._random.uniform(1, 4))

    async def _move_clients(self, balancer: Balancer) -> None:
        """Send everybody to one worker, as while the others are replaced, and then to all of them again."""
        await balancer.use([self._worker().port])
        await self._cut_clients()
        await asyncio.sleep(self._random.uniform(1, 3))
        await balancer.use([worker.port for worker in self._stage.workers])
        await self._cut_clients()

    async def _freeze_worker(self) -> None:
        await self._worker().freeze(self._random.uniform(1, 4))
