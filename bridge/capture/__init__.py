"""From the database to changes in commit order, through Supabase Realtime or by logical replication.

In: frames of one subscription with the service role, or the stream of a temporary slot.  Out:
:data:`~bridge.events.Event`, first a ``Live``, then changes; a ``Gap`` whenever something may be missing,
and then ``Live`` again.

``decode`` says what a frame holds and ``supervision`` what it means, both without sockets and clocks;
``client`` is one connection through the ``realtime`` package, ``source`` makes it again for ever and owns
it, ``watch`` keeps its token fresh, ``queue`` bounds what waits, ``completion`` reads again what upstream
left out.

The other transport, of the journal alone: ``replication`` and ``journal`` say what a slot's stream holds
and ``refusal`` why there is none, without sockets; ``slot`` is one replication connection, ``wal`` makes
it again for ever.  The task is the caller's: ``RealtimeSource.run``, ``WalSource.run``.
"""

from bridge.capture.source import RealtimeSource
from bridge.capture.wal import WalSource

__all__ = ["RealtimeSource", "WalSource"]
