"""``python -m bridge.bench.fed``: a `bridge run` whose replication stream is its standard input.

All else is the worker as it runs in production: the same stages, the policies and the memberships of a real
database.  Each message stands behind its size.
"""

import asyncio
import contextlib
import os
import struct
import sys
from collections.abc import AsyncIterator

from typing_extensions import override

from bridge import logs
from bridge.capture import wal
from bridge.capture.refusal import ReplicationError
from bridge.capture.slot import Slot
from bridge.clock import SystemClock
from bridge.config import load_config
from bridge.process import run_command
from bridge.service import Addresses, serve

INPUT = 0
PIECE_BYTES = 64 * 1024
"""What is read at once; libpq takes as much."""

_SIZE = struct.Struct("=I")


class FedSlot(Slot):
    """A slot's messages from standard input."""

    def __init__(self) -> None:
        self.wal_sender_timeout_s = 0.0
        self.fileno = INPUT
        self._received = memoryview(b"")
        self._at = 0

    @override
    def receive(self) -> None:
        """Take what is there."""
        try:
            piece = os.read(INPUT, PIECE_BYTES)
        except BlockingIOError:
            return
        if not piece:
            raise ReplicationError("the input has ended", "start again")
        self._received = memoryview(b"".join((self._received[self._at :], piece)))
        self._at = 0

    @override
    def message(self) -> memoryview | None:
        """Return the next message that is whole."""
        received, start = self._received, self._at + 4
        if start > len(received):
            return None
        end = start + _SIZE.unpack_from(received, self._at)[0]
        if end > len(received):
            return None
        self._at = end
        return received[start:end]

    @override
    def send(self, message: bytes) -> None:
        """Nobody wants to know what has been received."""


@contextlib.asynccontextmanager
async def open_fed_slot(_database_url: str, _publication: str) -> AsyncIterator[Slot]:
    """Stand in for :func:`bridge.capture.slot.open_slot`."""
    os.set_blocking(INPUT, False)
    yield FedSlot()


async def main(stop: asyncio.Event) -> None:
    """Serve until ``stop``; print the ports once changes flow."""

    def say(addresses: Addresses) -> None:
        sys.stdout.write(f"{addresses.port}\n")
        sys.stdout.flush()

    await serve(load_config(os.environ), stop=stop, clock=SystemClock(), on_ready=say)


if __name__ == "__main__":
    vars(wal)["open_slot"] = open_fed_slot
    logs.configure(log_format="json", level="info")
    run_command(main)
