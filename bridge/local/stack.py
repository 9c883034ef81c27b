"""Starts and stops the local stack: Postgres, and the API in a process of its own."""

import asyncio
import contextlib
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import httpx
import msgspec
import psycopg

from bridge.clock import SystemClock
from bridge.errors import SourceError
from bridge.listening import free_port
from bridge.local.api import Settings
from bridge.local.postgres import EmbeddedPostgres
from bridge.local.realtime import Timing
from bridge.minting import mint_key, mint_token

START_TIMEOUT_S = 20.0
WATCH_S = 0.2


class LocalStack:
    """A Supabase project on this machine, as far as the bridge can tell.

    ``async with`` starts and stops it.  The API can be killed and started again, on the same port.

    Args:
        folder: Where Postgres keeps its data; None for a temporary one.
        jwt_secret: Secret of the project's tokens; None for a random one.
        timing: How long the local Realtime takes for things.
    """

    def __init__(
        self, *, folder: Path | None = None, jwt_secret: str | None = None, timing: Timing | None = None
    ) -> None:
        self.postgres = EmbeddedPostgres(folder)
        self.jwt_secret = jwt_secret or secrets.token_hex(32)
        self._timing = timing or Timing()
        self._port = 0
        self._api: subprocess.Popen[bytes] | None = None
        now = SystemClock().now()
        self.anon_key = mint_key(self.jwt_secret, role="anon", now=now)
        self.service_role_key = mint_key(self.jwt_secret, role="service_role", now=now)

    @property
    def url(self) -> str:
        """What ``SUPABASE_URL`` has to be."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def database_url(self) -> str:
        """Connection string as the superuser."""
        return self.postgres.url()

    @property
    def api_pid(self) -> int | None:
        """Process id of the API while it runs."""
        return self._api.pid if self._api is not None and self._api.poll() is None else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything; about two seconds.

        Raises:
            SourceError: a part did not start.
        """
        try:
            await asyncio.to_thread(self.postgres.start)
            await asyncio.to_thread(self.postgres.bootstrap)
            await self.start_api()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything that was started."""
        await asyncio.to_thread(self._end_api)
        await asyncio.to_thread(self.postgres.stop)

    async def start_api(self) -> None:
        """Start the API, on the port it had before, and wait until it answers."""
        if not self._port:
            self._port = free_port()
        settings = Settings(
            port=self._port,
            database_url=self.database_url,
            secret=self.jwt_secret,
            timing=self._timing,
        )
        self._api = subprocess.Popen(  # noqa: ASYNC220 - our own module; the call returns at once
            [sys.executable, "-m", "bridge.local.api"], stdin=subprocess.PIPE, start_new_session=True
        )
        if self._api.stdin is not None:
            self._api.stdin.write(msgspec.json.encode(settings) + b"\n")
            self._api.stdin.flush()
        async with httpx.AsyncClient() as client:
            for _ in range(int(START_TIMEOUT_S / 0.05)):
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"{self.url}/rest/v1/")
                    return
                if self._api.poll() is not None:
                    break
                await asyncio.sleep(0.05)
        raise SourceError(f"the local API did not start on port {self._port}: see what it printed above")

    async def watch_api(self) -> None:
        """Wait for as long as the API runs.

        Raises:
            SourceError: it has ended.
        """
        while self._api is None or self._api.poll() is None:  # noqa: ASYNC110 - a process that Popen has
            await asyncio.sleep(WATCH_S)
        ended = f"process {self._api.pid}, code {self._api.returncode}"
        raise SourceError(f"the local API has ended ({ended}), and with it the stack: start it again")

    def kill_api(self) -> None:
        """Kill the API as a crash would; its port refuses connections from now on."""
        if self._api is not None:
            self._api.kill()
            self._end_api()

    async def restart_postgres(self) -> None:
        """Stop Postgres and start it again, with its data."""
        await asyncio.to_thread(self.postgres.restart)

    async def apply_sql(self, paths: Sequence[Path]) -> None:
        """Run SQL files in order."""
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            for path in paths:
                await connection.execute(path.read_bytes())

    def token(
        self, user_id: str | None, *, ttl_s: int = 3600, role: str = "authenticated", **claims: object
    ) -> str:
        """Return a token as Supabase Auth would issue it to this user."""
        return mint_token(
            self.jwt_secret, user_id=user_id, role=role, ttl_s=ttl_s, now=SystemClock().now(), **claims
        )

    def _end_api(self) -> None:
        if self._api is None:
            return
        if self._api.stdin is not None:
            with contextlib.suppress(OSError):
                self._api.stdin.close()
        try:
            self._api.wait(5)
        except subprocess.TimeoutExpired:
            self._api.kill()
            self._api.wait(5)
        self._api = None
