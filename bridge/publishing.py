"""From authorization to fan-out: what users experience of a change is published at the hub."""

from collections.abc import Iterable, Sequence

from bridge.authorization import Deliver, Effect, Resync, Shifted
from bridge.events import Change, Principal, ResyncReason, UpstreamState
from bridge.fanout import Flusher, Hub
from bridge.position import Position


class HubAudience:
    """Gives the pipeline's effects to the hub.

    Args:
        hub: Keeps them, and hands them out.
        flusher: Is told how old what it writes is.
    """

    def __init__(self, hub: Hub, flusher: Flusher) -> None:
        self._hub = hub
        self._flusher = flusher

    def begin(self, version: str, position: Position) -> None:
        self._hub.begin(version, position)

    def open(self) -> None:
        self._hub.open()

    def close(self) -> None:
        self._hub.close()

    def remember(self, change: Change, effects: Sequence[Effect]) -> None:
        self._carry(change, effects, told=False)

    def deliver(self, change: Change, effects: Sequence[Effect]) -> None:
        if len(effects) == 1 and effects[0].__class__ is Deliver:  # nearly always
            self._hub.advance(change.id, change.position)
            frames = self._hub.publish(effects[0].event, effects[0].deliveries)
        else:
            frames = self._carry(change, effects, told=True)
        if frames:
            self._flusher.note(change.received_s, frames)

    def remind(self, resync: Resync) -> None:
        self._hub.resync(resync.principals, "visibility_changed", late=True)

    def _carry(self, change: Change, effects: Sequence[Effect], *, told: bool) -> int:
        hub = self._hub
        count = 0
        hub.advance(change.id, change.position)
        for number, effect in enumerate(effects, 1):
            match effect:
                case Deliver(event=event, deliveries=deliveries):
                    is_last = not _concern_more(effect, effects[number:])
                    count += hub.publish(event, deliveries, is_last=is_last)
                case Resync(principals=principals):
                    hub.resync(principals, "visibility_changed")
                case Shifted(role=role, users=users, by_row=True):
                    hub.shift(role, users)
                case Shifted(role=role, users=users):
                    hub.mark(role, users, told=told)
        return count

    def announce_status(self, state: UpstreamState) -> None:
        self._hub.announce_status(state)

    def announce_gap(self, reason: ResyncReason) -> None:
        self._hub.resync(None, reason)

    def forget_history(self) -> None:
        self._hub.forget_history()


def _concern_more(effect: Deliver, later: Sequence[Effect]) -> bool:
    """True if somebody who gets ``effect`` gets something later of the same change too."""
    if not later:
        return False
    here = {principal for delivery in effect.deliveries for principal in delivery.principals}
    return any(not here.isdisjoint(principals) for other in later for principals in _concerned(other))


def _concerned(effect: Effect) -> Iterable[Iterable[Principal]]:
    match effect:
        case Deliver(deliveries=deliveries):
            return [delivery.principals for delivery in deliveries]
        case Resync(principals=principals):
            return [principals]
        case _:
            return []
