"""Clients: sockets, protocol state, tokens, limits, WebSocket, long poll, HTTP.

In: frames that fan-out offers, bytes of clients.  Out: bytes, and calls of the hub (declared in
``ports``).  Pure: ``session``, ``messages``, ``limits``, ``origins``, ``outbox``.  I/O: ``websocket`` with
``handshake`` and ``commands`` (what its session wants), ``poll``, ``http``, ``jwks``, ``sweeper``, and
``server``, which owns every task: one sweeper, two HTTP servers, and a task for a connection only while it
waits for something.
"""

from bridge.connection.jwks import ProjectKeys
from bridge.connection.server import Server, Settings
from bridge.connection.tokens import Verifier

__all__ = ["ProjectKeys", "Server", "Settings", "Verifier"]
