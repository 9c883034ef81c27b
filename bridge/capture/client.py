"""One connection to Realtime through the ``realtime`` package, for as long as it lasts.

What we rely on in the package (2.34, tests/unit/capture/test_client.py pins it): ``connect`` sets
``_ws_connection`` and then starts ``_listen`` as a task; ``subscribe`` sends the join, heartbeats are
sent by ``_heartbeat``; ``_handle_message`` of a channel takes the reply to the join, and
``_release_subscribe_waiter`` ends the wait for it.  ``_listen`` is our own because the package's makes
floats of numerics, drops frames it does not know after logging them whole, dies silently when a
callback raises, and refuses frames of more than 1 MiB.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import structlog
import websockets
from pydantic import ValidationError
from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent, RealtimeSubscribeStates
from realtime.message import ServerMessageAdapter
from typing_extensions import override

from bridge import metrics

log: structlog.stdlib.BoundLogger = structlog.get_logger()

logging.getLogger("realtime").setLevel(logging.CRITICAL)  # noqa: TID251 - it logs whole frames

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Largest frame taken: Realtime itself sends up to about twice the size of a row of 1 MiB."""

CLOSE_LIMIT_S = 1.0
"""Time for the closing handshake of a connection that is given up; then it is cut."""

TOPIC = "bridge"


class UpstreamClient(AsyncRealtimeClient):
    """A client that never reconnects by itself, and that reports its end.

    Args:
        url: Realtime URL of the project, ``https://.../realtime/v1``.
        token: Access token.
        api_key: What the gateway is shown; the access token unless given.
        on_frame: Called with the text of each frame; False when the connection is given up.
        on_end: Called with a reason when no more frames will come; never after :func:`close`.
        heartbeat_s: Time between heartbeats; the package sends none more often than every 15 s.
    """

    def __init__(
        self,
        *,
        url: str,
        token: str,
        api_key: str | None = None,
        on_frame: Callable[[str | bytes], bool],
        on_end: Callable[[str], None],
        heartbeat_s: int,
    ) -> None:
        super().__init__(url, api_key or token, auto_reconnect=False, max_retries=1, hb_interval=heartbeat_s)
        self.access_token = token
        self._on_frame = on_frame
        self._on_end = on_end
        self._given_up = False

    @override
    async def _listen(self) -> None:
        reason = "the connection ended"
        try:
            reason = await self._listen_to_the_end()
        except Exception as error:  # noqa: BLE001 - the task is the package's, which never looks at it
            # Only the type: the message may quote a frame.
            reason = f"the listener failed with {type(error).__name__}"
            log.error("listener_failed", error=type(error).__name__)
        finally:
            for channel in self.channels.values():
                channel._release_subscribe_waiter()  # noqa: SLF001 - else a join waits 10 s for its reply
            if not self._given_up:
                self._on_end(reason)

    async def _listen_to_the_end(self) -> str:
        connection = self._ws_connection
        if connection is None:
            return "there is no connection"
        connection.protocol.max_size = MAX_FRAME_BYTES
        try:
            async for frame in connection:
                if self._given_up or not self._on_frame(frame):
                    return "the connection was given up"
                self._pass_on(frame)
        except websockets.exceptions.ConnectionClosed as closed:
            if closed.sent is not None and closed.sent.code == websockets.CloseCode.MESSAGE_TOO_BIG:
                metrics.FRAMES_SKIPPED.labels("too_large").inc()
                return f"a frame of more than {MAX_FRAME_BYTES} bytes"
        return f"closed with {connection.close_code}"

    async def end(self) -> None:
        """End the connection and everything that the package started for it; no callback follows."""
        self._given_up = True
        connection = self._ws_connection
        for channel in list(self.channels.values()):
            channel.rejoin_timer.reset()
            channel.join_push.destroy()
            for push in channel.messages_waiting_for_ack.values():
                push.destroy()
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self.close()
        except TimeoutError:  # a peer that does not answer, or whose frames nobody reads any more
            if connection is not None:
                connection.transport.abort()
            await self.close()  # the first call did not come to its tasks

    def _pass_on(self, frame: str | bytes) -> None:
        """Give the package the replies that its join waits for, and nothing else."""
        start = frame[:200] if isinstance(frame, str) else frame[:200].decode(errors="replace")
        if '"phx_reply"' not in start:
            return
        with contextlib.suppress(ValidationError):
            message = ServerMessageAdapter.validate_json(frame)
            channel = self.channels.get(message.topic)
            if channel is not None:
                channel._handle_message(message)  # noqa: SLF001 - see the module's docstring


async def join(client: UpstreamClient, tables: Sequence[str]) -> str | None:
    """Connect and ask for all changes of ``tables``; return why the server refused, None if it did not.

    That it did not refuse means nothing yet: live is only what the system message says.

    Raises:
        OSError, websockets.exceptions.WebSocketException: there is no connection.
    """
    await client.connect()
    channel = client.channel(TOPIC)
    for table in tables:
        schema, _, name = table.partition(".")
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.All, callback=_ignore, table=name, schema=schema
        )
    refusals: list[str] = []

    def on_state(state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state != RealtimeSubscribeStates.SUBSCRIBED:
            refusals.append(f"{state.value}: {error}" if error is not None else state.value)

    await channel.subscribe(on_state)
    return refusals[0] if refusals else None


def _ignore(_payload: Any) -> None:
    """Changes are taken from the frames themselves; the package wants a callback to subscribe."""
