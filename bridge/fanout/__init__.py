"""From decisions to outboxes.

In: :class:`~bridge.events.RowEvent` with its deliveries.  Out: frames, offered to the sinks of the
subscribers; nobody is waited for.  ``frames`` encodes, ``history`` remembers, ``hub`` knows who wants
what; all pure.  ``flusher`` writes outboxes once per loop iteration.  The stage owns no task.
"""

from bridge.fanout.flusher import Flusher
from bridge.fanout.frames import EventEncoder, Frame, notice
from bridge.fanout.history import History
from bridge.fanout.hub import Hub, Subscriber

__all__ = ["EventEncoder", "Flusher", "Frame", "History", "Hub", "Subscriber", "notice"]
