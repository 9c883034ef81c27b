"""The event stream in the terminal: a client of a running bridge, or of upstream itself."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from bridge.clock import SystemClock
from bridge.config import Config
from bridge.errors import ConfigError, SourceError
from bridge.minting import mint_token
from bridge.rpc import ProjectRpc
from bridge.upstream import open_upstream

Show = Callable[[dict[str, Any]], None]

TOKEN_TTL_S = 3600
"""Seconds that the token is valid; the bridge ends the stream then."""


async def tail_as(config: Config, user_id: str, url: str, *, stop: asyncio.Event, show: Show) -> None:
    """Show what ``user_id`` gets from the bridge at ``url``, until ``stop`` or the connection ends.

    Raises:
        ConfigError: there is no JWT secret to speak for the user with, or ``url`` is none.
        SourceError: the bridge cannot be reached, or ended the connection for a reason.
    """
    if config.jwt_secret is None:
        raise ConfigError("SUPABASE_JWT_SECRET is not set, so no token can be made for the user: set it")
    token = mint_token(
        config.jwt_secret, user_id=user_id, role="authenticated", ttl_s=TOKEN_TTL_S, now=SystemClock().now()
    )
    try:
        async with connect(url, max_size=None) as socket, asyncio.TaskGroup() as tasks:
            closer = tasks.create_task(_close_on(stop, socket.close), name="tail-stop")
            await socket.send(json.dumps({"type": "auth", "token": token}))
            await socket.send(json.dumps({"type": "subscribe"}))
            async for frame in socket:
                show(json.loads(frame))
            closer.cancel()
    except* OSError as group:
        raise SourceError(f"no bridge answers at {url}: start it with `bridge run`, or give --url") from group
    except* InvalidURI as group:
        raise ConfigError(f"{url} is no WebSocket URL: write it like ws://127.0.0.1:3002/ws") from group
    except* InvalidHandshake as group:
        raise SourceError(
            f"{url} does not answer as a bridge does ({group.exceptions[0]}): is it its /ws?"
        ) from group
    except* ConnectionClosed as group:
        error = group.exceptions[0]
        raise SourceError(f"the bridge ended the connection ({error}): see docs/protocol.md") from group


async def tail_upstream(config: Config, *, stop: asyncio.Event, show: Show) -> None:
    """Show every change of the watched tables as upstream sends it to the worker, until ``stop``."""
    rpc = await ProjectRpc.connect(config.supabase_url, config.service_role_key, api_key=config.gateway_key)
    try:
        source = (await open_upstream(config, rpc, clock=SystemClock())).source
        async with asyncio.TaskGroup() as tasks:
            supervisor = tasks.create_task(source.run(), name="capture")
            printer = tasks.create_task(_print(source.next_event, show), name="print")
            await stop.wait()
            supervisor.cancel()
            printer.cancel()
    finally:
        await rpc.close()


async def _print(next_event: Callable[[], Any], show: Show) -> None:
    while True:
        event = await next_event()
        show({"event": type(event).__name__.lower(), **msgspec.to_builtins(event, enc_hook=str)})


async def _close_on(stop: asyncio.Event, close: Callable[[], Any]) -> None:
    await stop.wait()
    await close()
