"""How many changes Postgres is asked about at once."""

MOST = 100
TARGET_S = 1.0
"""What one question may take: well below statement_timeout, and the first change does not wait long."""


class Pace:
    """Learns from how long questions take; twice as many changes at most the next time.

    Attributes:
        room: Changes that may be asked about together.
    """

    def __init__(self) -> None:
        self.room = 8

    def note(self, changes: int, took_s: float) -> None:
        """Remember that it took so long to ask about so many changes."""
        affordable = MOST if took_s <= 0 else int(changes * TARGET_S / took_s)
        self.room = max(1, min(MOST, 2 * self.room, affordable))
