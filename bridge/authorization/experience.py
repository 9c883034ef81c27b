"""What users experience of a change, once it is known who saw its row before and who sees it after."""

from collections.abc import Collection, Sequence
from typing import TypeAlias

import msgspec

from bridge.authorization.asking import Answer
from bridge.authorization.effects import Probe
from bridge.authorization.grounds import BY_ROW, Grounds
from bridge.authorization.shaping import Shaper, views
from bridge.authorization.sightings import Sighting
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
        may_wait: True where each change may ask for it again, so that many are better told at once.
    """

    principals: tuple[Principal, ...]
    timeout: AskedTimeoutError | None = None
    may_wait: bool = False


class Shifted(msgspec.Struct, frozen=True):
    """The sight of these users may have changed: who of them is not on the roster has to read again.

    Attributes:
        role: Their role.
        users: Their ids; None for everybody with this role.
        by_row: True if it is the row of the change itself that they may see or not: the event of it tells.
    """

    role: str
    users: frozenset[str | None] | None
    by_row: bool = False


Effect: TypeAlias = Deliver | Resync | Shifted


def shifted(found: Sequence[Probe], *, by_row: bool = False) -> list[Shifted]:
    """Return whose sight the answers to these questions are."""
    users: dict[str, frozenset[str | None] | None] = {}
    for probe in found:
        role = probe.plan.role
        known = users.get(role, frozenset())
        users[role] = None if known is None or probe.users is None else known | probe.users
    return [Shifted(role, some, by_row) for role, some in users.items() if some is None or some]


class Sees(msgspec.Struct, frozen=True):
    """Who sees a row by memory, and by what Postgres says.

    Attributes:
        sighting: What memory says.
        answer: What Postgres says of the others; None if nobody was asked about.
        grounds: What that depends on.
    """

    sighting: Sighting
    answer: Answer | None = None
    grounds: Grounds = BY_ROW

    @property
    def superseded(self) -> bool:
        """True if the row has been changed again, and what Postgres says is not about what it was."""
        if self.answer is None:
            return False
        return bool(self.answer.seems) or not (self.grounds.row_only or self.answer.is_current)

    @property
    def now(self) -> Sequence[Principal]:
        """Those who see it; by what it is now nobody is shown what it was."""
        if self.answer is None or self.superseded:
            return self.sighting.sees
        return [*self.sighting.sees, *self.answer.sees]

    @property
    def seems(self) -> Sequence[Principal]:
        """Those who likely see it: its JSON does not tell, and the table has another row by now."""
        return () if self.answer is None else self.answer.seems

    @property
    def before(self) -> Sequence[Principal]:
        """Those who saw it, where it is the row before a change: whoever seems to may have been shown it."""
        return [*self.now, *self.seems] if self.seems else self.now

    def certain(self, *, row_only: bool) -> Sequence[Principal]:
        """Return those who saw the row, where it is the row before a change, as it was then.

        Args:
            row_only: True if what Postgres says comes of the row alone, so that it was so before too.
        """
        if self.answer is None or not row_only:
            return self.sighting.sees
        return [*self.sighting.sees, *self.answer.sees]

    @property
    def later(self) -> Collection[Principal]:
        """Those who may see the row as it is now: the change that made it so tells."""
        if self.answer is None or not self.superseded:
            return ()
        if "UPDATE" in self.grounds.hidden_by:
            return self.answer.asked
        return [*self.answer.sees, *self.answer.seems]

    @property
    def late(self) -> Collection[Principal]:
        """Those of whom Postgres did not tell in time."""
        return self.answer.asked if self.answer is not None and self.answer.is_late else ()


NOBODY = Sees(Sighting(()))


class Share(msgspec.Struct, kw_only=True):
    """One role's part of a change: who saw the row and who sees it.

    Attributes:
        columns: What the role may read.
        old_unknown: True if the row before is not known at all.
        saw: Who saw it, but for those of ``unsure``.
        sees: Who sees it.
        unsure: Of whom it cannot be known any more whether they saw it.
        row_only: True if what Postgres says comes of the row alone.
    """

    columns: frozenset[str] | None
    old_unknown: bool
    row_only: bool = True
    saw: Sees = NOBODY
    sees: Sees = NOBODY
    unsure: Collection[Principal] = ()

    def deliveries(self, untold: set[Principal]) -> list[Delivery]:
        """Return who experiences what.

        Args:
            untold: Those who may see the row but were not told, as it had changed again; kept up to date.
        """
        sees, saw = self.sees.now, self.saw.before
        if self.unsure:  # they have it, or can do with an UPDATE as well
            saw = [*saw, *set(sees).intersection(self.unsure)]
        if self.sees.superseded:
            later = set(self.sees.later)
            if not self.old_unknown:
                untold |= later.difference(saw, self.unsure)
            saw = [principal for principal in saw if principal not in later]
        shares: list[tuple[Action, Sequence[Principal]]]
        shares = [("UPDATE", sees)] if self.old_unknown else views(saw, sees)
        if untold and not untold.isdisjoint(sees):
            shares = _introduced(shares, untold)
            untold.difference_update(sees)
        return [
            Delivery(view=view, principals=some)
            for action, principals in shares
            for view, some in self._views(action, principals)
            if some
        ]

    def _views(
        self, action: Action, principals: Sequence[Principal]
    ) -> list[tuple[View, Sequence[Principal]]]:
        """Return ``principals`` by what they may be shown of the row before."""
        whole = View(action=action, columns=self.columns)
        if action != "UPDATE" or not (self.unsure or self.old_unknown or self.saw.answer):
            return [(whole, principals)]
        certain = set(self.saw.certain(row_only=self.row_only))
        hidden = msgspec.structs.replace(whole, hides_old=True)
        return [
            (whole, [p for p in principals if p in certain]),
            (hidden, [p for p in principals if p not in certain]),
        ]

    @property
    def missed(self) -> list[Principal]:
        """Those who may have lost sight of the row, and cannot be named more exactly."""
        if not self.unsure:
            return []
        told = {*self.sees.now, *self.sees.later, *self.sees.late}
        return [principal for principal in self.unsure if principal not in told]


def _introduced(
    shares: Sequence[tuple[Action, Sequence[Principal]]], untold: Collection[Principal]
) -> list[tuple[Action, Sequence[Principal]]]:
    """Return ``shares`` with an INSERT for those who were never told of the row."""
    introduced: list[tuple[Action, Sequence[Principal]]] = []
    for action, principals in shares:
        new = [principal for principal in principals if principal in untold] if action == "UPDATE" else []
        introduced.append((action, [p for p in principals if p not in untold] if new else principals))
        introduced.append(("INSERT", new))
    return introduced


class Shares(msgspec.Struct, kw_only=True):
    """A change of a watched table, and each role's part of it."""

    key: Row
    old: Row | None
    of_roles: list[Share] = []

    def deliver(self, shaper: Shaper, change: Change, untold: set[Principal]) -> Deliver:
        """Return the event and who gets it; Postgres has been asked."""
        deliveries = [delivery for share in self.of_roles for delivery in share.deliveries(untold)]
        return Deliver(shaper.committed(change, self.key, self.old), tuple(deliveries))


class Shift(msgspec.Struct, kw_only=True):
    """Who saw a row before a look-up row changed, and who sees it after.

    Attributes:
        probe: The question.
        row: The row it is about.
        saw: Who saw it before.
        shown: Who may have been shown it before; those of ``saw``, or more.
        sees: Who sees it now; of those of whom it was not known before nobody was asked about.
    """

    probe: Probe
    row: Row
    saw: Sighting
    shown: Collection[Principal]
    sees: Sees

    @property
    def doubtful(self) -> list[Principal]:
        """Those for whom something changed, but who may have seen the row before or not."""
        still, before = set(self.sees.sighting.open), set(self.saw.open)
        return [
            *(principal for principal in self.saw.open if principal not in still),
            *(principal for principal in self.sees.seems if principal not in before),
        ]

    def settle(self) -> tuple[list[Principal], list[Principal]]:
        """Return who gained sight of the row, and who lost it; Postgres has been asked."""
        sees = {*self.sees.now, *self.sees.later}
        unsure = {*self.saw.open, *self.sees.seems}
        saw = {*self.saw.sees}
        gained = [p for p in self.sees.now if p not in saw and p not in unsure]
        lost = [p for p in self.shown if p not in sees and p not in unsure]
        return gained, lost

    @property
    def untold(self) -> set[Principal]:
        """Those who may have gained sight of a row that has changed again."""
        return set(self.sees.later).difference(self.saw.sees, self.saw.open, self.sees.seems)
