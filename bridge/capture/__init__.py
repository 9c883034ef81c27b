"""From the database to changes in commit order, through Supabase Realtime or by logical replication.

In: frames of one subscription with the service role, or the stream of a temporary slot.  Out:
:data:`~bridge.events.Event`, first a ``Live``, then changes; a ``Gap`` whenever something may be missing,
and then ``Live`` again.

``decode`` says what a frame holds and ``supervision`` what it means, both without sockets and clocks;
``client`` is one connection through the ``realtime`` package, ``source`` makes it again for ever and owns
it, ``watch`` keeps its token fresh, ``queue`` bounds what waits, ``completion`` reads again what upstream
left out.

The other transport, of the journal alone: ``replication`` and ``wal_rows`` say what a slot's stream holds
and ``refusal`` why there is none, without sockets; ``slot`` is one replication connection, ``wal`` makes
it again for ever.

Over either of them comes the journal, which loses nothing: ``journal`` says which of its rows may leave
when (``journal_rows`` what they say, and in which order they were committed), ``journal_source`` reads what
the stream has lost, ``beside`` it where nothing waits for that; ``ports`` is what it needs.  The task is the
caller's: ``RealtimeSource.run``, ``WalSource.run``, ``JournalSource.run``.
"""

from bridge.capture.journal_source import JournalSource
from bridge.capture.source import RealtimeSource
from bridge.capture.wal import WalSource

__all__ = ["JournalSource", "RealtimeSource", "WalSource"]
