"""The project's public keys, fetched when a token names one that is not known."""

import asyncio
from typing import Any

import httpx
import jwt
import structlog

from bridge.clock import Clock
from bridge.errors import InvalidTokenError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

REFETCH_S = 30.0
"""Least time between two fetches: unknown key ids must not become requests."""

MAX_AGE_S = 600.0
"""Seconds after which keys are fetched again: one that the project revoked must not count for ever."""

FETCH_TIMEOUT_S = 5.0


async def fetch_keys(http: httpx.AsyncClient, url: str) -> dict[str, tuple[str, Any]]:
    """Return the public keys of a project, each with its algorithm, by id.

    Args:
        http: Asks for them.
        url: Base URL of the project.

    Raises:
        jwt.PyJWKSetError: it has none.
        httpx.HTTPError, ValueError, AttributeError: they could not be read.
    """
    answer = await http.get(f"{url.rstrip('/')}/auth/v1/.well-known/jwks.json")
    answer.raise_for_status()
    key_set = jwt.PyJWKSet.from_dict(answer.json())
    return {key.key_id: (key.algorithm_name, key.key) for key in key_set.keys if key.key_id}


class ProjectKeys:
    """Keys of ``/auth/v1/.well-known/jwks.json``, kept while the endpoint is away.

    Args:
        url: Base URL of the project.
        clock: Source of time.
    """

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, tuple[str, Any]] = {}
        self._fetched_s: float | None = None
        """When they were asked for last."""
        self._read_s = 0.0
        """When they came last."""
        self._fetching = asyncio.Lock()

    async def key(self, kid: str, algorithm: str) -> Any:
        """Return the public key with this id, for this algorithm.

        Raises:
            InvalidTokenError: the project has no such key.
        """
        if kid not in self._keys:
            async with self._fetching:
                if kid not in self._keys:
                    await self._fetch()
        elif self._is_old() and not self._fetching.locked():  # one client waits, the others need not
            async with self._fetching:
                await self._fetch()
        found = self._keys.get(kid)
        if found is None or found[0] != algorithm:
            raise InvalidTokenError("the token's signing key is not of this project: sign in again")
        return found[1]

    def at_hand(self, kid: str, algorithm: str) -> Any:
        """Return the same key if nothing has to be fetched for it; else None."""
        found = self._keys.get(kid)
        return None if found is None or found[0] != algorithm or self._is_old() else found[1]

    def _is_old(self) -> bool:
        return self._clock.monotonic_s() - self._read_s >= MAX_AGE_S

    async def _fetch(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._fetched_s is not None and now_s - self._fetched_s < REFETCH_S:
            return
        self._fetched_s = now_s
        try:
            async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as http:
                keys = await fetch_keys(http, self._url)
        except jwt.PyJWKSetError:
            log.warning("jwks_empty", hint="set SUPABASE_JWT_SECRET if the project signs with HS256")
        except (httpx.HTTPError, ValueError, AttributeError) as error:
            log.warning("jwks_unavailable", reason=type(error).__name__)
        else:
            self._read_s = now_s
            self._keys = keys
