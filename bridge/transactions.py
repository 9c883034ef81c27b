"""What a transaction did to each row, as those outside it see it: the states in between were never there."""

from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, TypeAlias

import msgspec

from bridge.authorization import Deliver, Effect, Pending, Resync
from bridge.events import Change, Event, Gap, Row
from bridge.ports import Source
from bridge.position import Position

RowKey: TypeAlias = tuple[str, ...]
"""The values of a primary key, as they are told apart."""

MAX_TOGETHER = 1_000
"""Changes of one transaction that are taken as one; those of a larger one are taken in as many turns."""


class Begun(msgspec.Struct, frozen=True):
    """A change that was applied.

    Attributes:
        change: The change.
        effects: What is known of its effects.
        moves: :attr:`Authorizer.moves` as of then.
    """

    change: Change
    effects: list[Effect] | Pending
    moves: int


async def whole_transaction(first: Change, source: Source) -> tuple[list[Change], Event | None]:
    """Return ``first`` with the others of its transaction, and what was taken of ``source`` after them."""
    together = [first]
    last = first
    while last.txid and not last.last and len(together) < MAX_TOGETHER:
        following = source.take() or await source.rest(first.txid)
        if not isinstance(following, Change) or following.txid != first.txid:
            return together, following
        together.append(last := following)
    return together, None


def net(changes: Sequence[Change], keys: Mapping[str, Sequence[str]]) -> list[Change | None]:
    """Return what the changes of a transaction come to, in place of each row's first; None for the others.

    Who would be shown a row as it was between two statements would see what no ``select`` has ever shown.
    It has the id of the last: who got the first by itself, of a worker that had them in parts, lacks that.
    So the positions from there on have passed these ids, too.

    Args:
        changes: With their whole rows, in order.
        keys: Columns of the primary key, by table.  Rows of others are left as they are; where a key passes
            from one row to another, what was done before and after that stays apart.
    """
    rows = _rows(changes, keys)
    result: list[Change | None] = list(changes)
    passed: dict[int, list[int]] = {}
    for one_row in rows:
        for place in one_row:
            result[place] = None
        old, new = changes[one_row[0]].old, changes[one_row[-1]].new
        if old is not None or new is not None:
            result[one_row[0]] = msgspec.structs.replace(
                changes[one_row[0]],
                action="INSERT" if old is None else "DELETE" if new is None else "UPDATE",
                old=old,
                new=new,
                id=changes[one_row[-1]].id,
            )
            passed[one_row[0]] = [changes[place].id for place in one_row]
    early: list[int] = []
    for place, whole in enumerate(result):
        early += passed.get(place, ())
        if whole is not None and early:
            result[place] = msgspec.structs.replace(whole, position=_with(whole.position, early))
    return result


def net_of_each(
    events: Sequence[Change | Gap], keys: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Change | Gap, Change | None]]:
    """Give what was read of the past, each change with what :func:`net` makes of it."""
    for txid, some in groupby(events, key=lambda event: event.txid if isinstance(event, Change) else ""):
        together = list(some)
        changes = [event for event in together if isinstance(event, Change)]
        if txid and len(changes) > 1:
            yield from zip(changes, net(changes, keys), strict=True)
        else:
            yield from ((one, one if isinstance(one, Change) else None) for one in together)


def committed(
    begun: Sequence[Begun],
    settled: Sequence[Sequence[Effect]],
    keys: Mapping[str, Sequence[str]],
    lookups: Container[str],
) -> Sequence[Sequence[Effect]]:
    """Return what each change comes to with the rows as they are at the end of its transaction.

    Who is let in by a transaction never saw what the same transaction replaces: neither as a row that comes
    into sight nor as the row before an UPDATE.

    Args:
        begun: The changes, in order.
        settled: The effects of each.
        keys: Columns of the primary key, by table.
        lookups: Tables whose rows policies read.
    """
    if len(begun) == 1:  # nearly always
        return settled
    result = [list(effects) for effects in settled]
    for _, some in groupby(range(len(begun)), key=lambda place: begun[place].change.txid or place):
        first, *_ = places = list(some)
        ends: dict[tuple[str, RowKey], Row | None] = {}
        for place in reversed(places if len(places) > 1 else ()):
            change = begun[place].change
            moved = place > first and (
                begun[first].change.table in lookups or begun[place - 1].moves != begun[first].moves
            )
            told = [_at_the_end(effect, ends, keys, hides_old=moved) for effect in result[place]]
            result[place] = [effect for effect in told if effect is not None]
            key = keys.get(change.table)
            if key is not None and change.old is not None and change.old.keys() >= set(key):
                ends.setdefault((change.table, _key(change.old, key)), change.new)
    return result


def _at_the_end(
    effect: Effect,
    ends: Mapping[tuple[str, RowKey], Row | None],
    keys: Mapping[str, Sequence[str]],
    *,
    hides_old: bool,
) -> Effect | None:
    if not isinstance(effect, Deliver):
        return effect
    event = effect.event
    if event.announced is None:
        if not hides_old or event.new is None or event.old is None:
            return effect
        views = [
            msgspec.structs.replace(d, view=msgspec.structs.replace(d.view, hides_old=True))
            if d.view.action == "UPDATE"
            else d
            for d in effect.deliveries
        ]
        return Deliver(event, tuple(views))
    row = (event.table, _key(event.key, keys[event.table]))
    if event.announced != "INSERT" or row not in ends:
        return effect
    new = ends[row]
    if new is None:
        return None
    if _key(new, keys[event.table]) != row[1]:
        return Resync(tuple(p for delivery in effect.deliveries for p in delivery.principals))
    dialog = None if event.dialog_column is None else new.get(event.dialog_column)
    dialog_id = None if dialog is None else str(dialog)
    return Deliver(msgspec.structs.replace(event, new=new, dialog_id=dialog_id), effect.deliveries)


def _with(text: str, ids: Sequence[int]) -> str:
    """Return the position ``text`` with these ids passed, too."""
    position = Position.parse(text)
    if position is None:
        return text
    for id_ in ids:
        position.add(id_)
    return position.text()


def _rows(changes: Sequence[Change], keys: Mapping[str, Sequence[str]]) -> list[list[int]]:
    """Return the places of the changes of each row that has several."""
    known = [_keys(change, keys.get(change.table)) for change in changes]
    unclear = {change.table for change, some in zip(changes, known, strict=True) if not some}
    places_of: dict[tuple[str, RowKey], list[int]] = {}
    for place, (change, some) in enumerate(zip(changes, known, strict=True)):
        if change.table in unclear:
            continue
        places = [place]
        for key in some:
            earlier = places_of.get((change.table, key))
            if earlier is not None and earlier is not places:
                _join(places_of, change.table, known, earlier, places)
                places = earlier
            places_of[change.table, key] = places
    several = {id(places): sorted(places) for places in places_of.values() if len(places) > 1}
    runs = [run for places in several.values() for run in _runs(changes, places, known)]
    return [run for run in runs if len(run) > 1]


def _join(
    places_of: dict[tuple[str, RowKey], list[int]],
    table: str,
    known: Sequence[set[RowKey]],
    places: list[int],
    more: Sequence[int],
) -> None:
    """Make ``more`` part of ``places``, for all of their keys."""
    places += more
    for place in more:
        places_of.update(((table, key), places) for key in known[place])


def _runs(changes: Sequence[Change], places: Sequence[int], known: Sequence[set[RowKey]]) -> list[list[int]]:
    """Return the places, those together that are of one row: each change begins where the last one ended.

    With none between them that concerns one of these keys, they can be taken as one.
    """
    if len({key for place in places for key in known[place]}) == 1:
        return [list(places)]
    runs = [[places[0]]]
    for before, after in pairwise(places):
        if changes[before].new is not None and changes[before].new == changes[after].old:
            runs[-1].append(after)
        else:
            runs.append([after])
    return runs


def _keys(change: Change, key: Sequence[str] | None) -> set[RowKey]:
    """Return the row's key, before and after the change where it has another one now; nothing if unknown."""
    rows = [row for row in (change.old, change.new) if row is not None]
    if key is None or any(not row.keys() >= set(key) for row in rows):
        return set()
    # Two tables may have one name, one after the other.
    return {(str(change.oid), *_key(row, key)) for row in rows}


def _key(row: Mapping[str, Any], key: Sequence[str]) -> RowKey:
    return tuple(repr(row[column]) for column in key)
