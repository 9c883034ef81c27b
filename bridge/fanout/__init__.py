"""From decisions to outboxes.

In: :class:`~bridge.events.RowEvent` with its deliveries.  Out: frames, offered to the sinks of the
subscribers.  Live events wait for nobody; a ``replay`` waits for the client that asked for it.  ``frames``
encodes, ``history`` remembers, ``subscriber`` is one client, ``hub`` knows who wants what, ``seating`` who of
an audience is here; without I/O.  ``flusher`` writes outboxes once per loop iteration, less often while busy.
The stage owns no task.
"""

from bridge.fanout.flusher import Flusher
from bridge.fanout.frames import EventEncoder, Frame, notice
from bridge.fanout.history import History
from bridge.fanout.hub import Hub
from bridge.fanout.subscriber import Sink, Subscriber

__all__ = ["EventEncoder", "Flusher", "Frame", "History", "Hub", "Sink", "Subscriber", "notice"]
