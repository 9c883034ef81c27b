"""What users experience of a change, once it is known who saw its row before and who sees it after."""

from collections.abc import Collection, Sequence
from typing import TypeAlias

import msgspec

from bridge import metrics
from bridge.authorization.asking import Answer
from bridge.authorization.effects import Probe, Sighting
from bridge.authorization.shaping import Shaper, experience, views
from bridge.errors import AskedTimeoutError
from bridge.events import Action, Change, Delivery, Principal, Row, RowEvent, View


class Deliver(msgspec.Struct, frozen=True):
    """An event and who gets it, as what.  History keeps it also when nobody does."""

    event: RowEvent
    deliveries: tuple[Delivery, ...]


def without(effect: Deliver, principals: Collection[Principal]) -> Deliver:
    """Return ``effect`` for all but ``principals``."""
    rest = ((d.view, [p for p in d.principals if p not in principals]) for d in effect.deliveries)
    return Deliver(effect.event, tuple(Delivery(view=view, principals=some) for view, some in rest if some))


class Resync(msgspec.Struct, frozen=True):
    """These principals see other rows than before, too many to name: they have to read again.

    Attributes:
        principals: Who has to.
        timeout: Why Postgres could not tell what they see; None if it is known that it changed.
    """

    principals: tuple[Principal, ...]
    timeout: AskedTimeoutError | None = None


Effect: TypeAlias = Deliver | Resync


NOBODY = Sighting(())


class Share(msgspec.Struct, kw_only=True):
    """One role's part of a change: who saw the row and who sees it, the answers of Postgres added."""

    columns: frozenset[str] | None
    saw: Sighting
    old_unknown: bool
    sees: Sighting = NOBODY
    saw_answer: Answer | None = None
    sees_answer: Answer | None = None

    @property
    def untold(self) -> Collection[Principal]:
        """Those who seem to see the row, which is not enough to show it."""
        return () if self.sees_answer is None else self.sees_answer.seems

    def deliveries(self) -> list[Delivery]:
        """Return who experiences what."""
        saw, sees = self.saw.sees, self.sees.sees
        if self.saw_answer is not None:
            saw = [*saw, *self.saw_answer.sees, *self.saw_answer.seems]
        if self.sees_answer is not None:
            sees = [*sees, *self.sees_answer.sees]
            # The table has another row by now: the change that made it tells them.
            saw = [principal for principal in saw if principal not in self.untold]
        shares: list[tuple[Action, Sequence[Principal]]]
        shares = [("UPDATE", sees)] if self.old_unknown else views(saw, sees)
        return [
            Delivery(view=View(action=action, columns=self.columns), principals=principals)
            for action, principals in shares
            if principals
        ]


class Shares(msgspec.Struct, kw_only=True):
    """A change of a watched table, and each role's part of it."""

    key: Row
    old: Row | None
    of_roles: list[Share] = []

    def deliver(self, shaper: Shaper, change: Change) -> Deliver:
        """Return the event and who gets it; Postgres has been asked."""
        if any(share.untold for share in self.of_roles):
            metrics.UNDELIVERABLE.labels(change.table, "values_untold").inc()
        deliveries = [delivery for share in self.of_roles for delivery in share.deliveries()]
        return Deliver(shaper.committed(change, self.key, self.old), tuple(deliveries))


class Shift(msgspec.Struct, kw_only=True):
    """Who saw a row before a look-up row changed, and who sees it after.

    Attributes:
        probe: The question.
        row: The row it is about.
        saw: Who saw it before.
        shown: Who may have been shown it before; those of ``saw``, or more.
        sees: Who sees it now.
        answer: What Postgres says of those of whom memory does not know it.
    """

    probe: Probe
    row: Row
    saw: Sighting
    shown: Collection[Principal]
    sees: Sighting
    answer: Answer

    @property
    def doubtful(self) -> list[Principal]:
        """Those for whom something changed, but who may have seen the row before or not."""
        still, before = set(self.sees.open), set(self.saw.open)
        return [
            *(principal for principal in self.saw.open if principal not in still),
            *(principal for principal in self.answer.seems if principal not in before),
        ]

    def settle(self) -> tuple[list[Principal], list[Principal]]:
        """Return who gained sight of the row, and who lost it; Postgres has been asked."""
        sees = {*self.sees.sees, *self.answer.sees}
        unsure = {*self.saw.open, *self.answer.seems}
        saw = {*self.saw.sees}
        gained = [p for p in (*self.sees.sees, *self.answer.sees) if p not in saw and p not in unsure]
        lost = [p for p in self.shown if p not in sees and p not in unsure]
        return gained, lost


class Decision(msgspec.Struct, kw_only=True):
    """How one principal experiences an event: asked again as of now, when it comes back for it."""

    event: RowEvent
    columns: frozenset[str] | None
    sees_new: Answer = msgspec.field(default_factory=Answer)
    saw_old: Answer = msgspec.field(default_factory=Answer)

    def view(self) -> View | None:
        """Return what the principal experiences; Postgres has been asked."""
        if self.event.announced == "DELETE":
            return View(action="DELETE", columns=self.columns)
        if self.sees_new.seems:
            return None  # an event that follows has the row which the table has by now
        sees_new, saw_old = bool(self.sees_new.sees), bool(self.saw_old.sees or self.saw_old.seems)
        action: Action | None
        if self.event.new is not None and self.event.old is None:
            action = "INSERT" if sees_new else None
        else:
            action = experience(saw_old=saw_old, sees_new=sees_new)
        return None if action is None else View(action=action, columns=self.columns)
