"""Keeps the access token of a live connection fresh."""

from collections.abc import Callable

import structlog

from bridge.capture.client import UpstreamClient
from bridge.clock import Clock
from bridge.minting import expires_at

log: structlog.stdlib.BoundLogger = structlog.get_logger()

AHEAD_S = 60.0
"""A token is replaced so long before it expires, or after nine tenths of its life if that is later."""


class Watch:
    """The token of one connection.

    Args:
        client: The connection.
        token: The token it joined with.
        current: Returns the token to use from now on.
        clock: Source of time.
    """

    def __init__(self, client: UpstreamClient, token: str, current: Callable[[], str], clock: Clock) -> None:
        self._client = client
        self._token = token
        self._current = current
        self._clock = clock
        self._warned = False
        self._set_deadline()

    def _set_deadline(self) -> None:
        now_s = self._clock.now().timestamp()
        self._expires_s = expires_at(self._token)
        self._refresh_s = None
        if self._expires_s is not None:
            self._refresh_s = self._expires_s - min(AHEAD_S, 0.1 * max(0.0, self._expires_s - now_s))

    async def refresh(self) -> bool:
        """Replace the token if it is about to expire; False if it has expired and there is no other."""
        now_s = self._clock.now().timestamp()
        if self._refresh_s is None or now_s < self._refresh_s:
            return True
        token = self._current()
        if token != self._token:
            self._token = token
            self._warned = False
            self._set_deadline()
            await self._client.set_auth(token)
            log.info("upstream_token_refreshed")
            return True
        if not self._warned:
            self._warned = True
            log.error(
                "upstream_token_expiring",
                hint="set SUPABASE_JWT_SECRET, or a new SUPABASE_SERVICE_ROLE_KEY and restart",
            )
        return self._expires_s is None or now_s < self._expires_s
