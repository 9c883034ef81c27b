"""From Supabase Realtime to changes in commit order.

In: frames of one subscription with the service role.  Out: :data:`~bridge.events.Event`, first a
``Live``, then changes; a ``Gap`` whenever something may be missing, and then ``Live`` again.

``decode`` says what a frame holds and ``supervision`` what it means, both without sockets and clocks;
``client`` is one connection through the ``realtime`` package, ``source`` makes it again for ever and owns
it, ``watch`` keeps its token fresh, ``queue`` bounds what waits, ``completion`` reads again what upstream
left out.  The task is the caller's: ``RealtimeSource.run``.
"""

from bridge.capture.source import RealtimeSource

__all__ = ["RealtimeSource"]
