"""Positions: held against a plain set of ids."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.position import MAX_HOLES_IN_TEXT, Position

IDS = st.lists(st.integers(min_value=1, max_value=40), max_size=60)


def passed(after: int, ids: list[int]) -> tuple[Position, set[int]]:
    """Return a position to which ``ids`` were added, and the set of what it should contain."""
    position = Position(after)
    for id_ in ids:
        position.add(id_)
    return position, set(range(after + 1)) | set(ids)


@given(after=st.integers(min_value=0, max_value=20), ids=IDS)
def test_a_position_is_the_set_of_what_was_passed(after: int, ids: list[int]):
    """Whatever the order; each id is new once."""
    position, model = Position(after), set(range(after + 1))
    for id_ in ids:
        assert position.add(id_) == (id_ not in model)
        model.add(id_)
        assert [i for i in range(50) if i in position] == sorted(model)
        assert position.after == max(model)
        assert position.floor == next(i for i in range(50) if i + 1 not in model)
        for up_to in range(50):
            assert position.missing(up_to) == len(set(range(up_to + 1)) - model)
        holes = position.holes
        assert {i for first, last in holes for i in range(first, last + 1)} == (
            set(range(position.after)) - model
        )
        assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(holes))


@given(after=st.integers(min_value=0, max_value=20), ids=IDS)
def test_a_text_is_read_as_the_same_position(after: int, ids: list[int]):
    """As long as its holes fit; ids of that position and no other."""
    position, model = passed(after, ids)
    read = Position.parse(position.text())

    assert read is not None
    if len(position.holes) <= MAX_HOLES_IN_TEXT:
        assert (read.after, read.holes) == (position.after, position.holes)
        assert read.text() == position.text()
    assert {i for i in range(50) if i in read} <= model


def test_too_many_holes_name_an_earlier_position():
    """What lies between comes twice; nothing is left out."""
    ids = list(range(2, 2 + 2 * MAX_HOLES_IN_TEXT, 2))
    assert passed(0, ids)[0].text().count(".") == MAX_HOLES_IN_TEXT
    assert passed(0, [*ids, 500])[0].text() == "0"
    assert passed(7, [8, *(n + 8 for n in [*ids, 500])])[0].text() == "8"


def test_a_text_is_short():
    """Holes are told by their distance, the last one first."""
    assert Position(1_000_000, [(999_000, 999_001), (999_997, 999_997)]).text() == "1000000.3.996-1"


@given(after=st.integers(0, 20), ids=IDS, other_after=st.integers(0, 20), other_ids=IDS)
def test_a_position_covers_another_if_it_has_all_of_it(
    after: int, ids: list[int], other_after: int, other_ids: list[int]
):
    """As sets do."""
    (one, model), (other, other_model) = passed(after, ids), passed(other_after, other_ids)
    assert one.covers(other) == (model >= other_model)
    assert one.covers(one)


@given(ids=IDS, first=st.integers(1, 40), length=st.integers(0, 10))
def test_ids_that_will_never_be_there_are_closed(ids: list[int], first: int, length: int):
    """Those within the holes; ids beyond the end are not touched."""
    position, model = passed(0, ids)
    position.close(first, first + length)
    model |= set(range(first, first + length + 1)) & set(range(position.after + 1))
    assert [i for i in range(50) if i in position] == sorted(model)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(position.holes))


@given(text=st.text(alphabet="0123456789.-", max_size=30))
def test_any_text_is_a_position_or_none(text: str):
    """Clients send what they like: no error, and a position's holes lie in order before its end."""
    position = Position.parse(text)
    if position is not None:
        edges = [0, *(edge for hole in position.holes for edge in hole), position.after]
        assert edges == sorted(edges)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "1.",
        "5.6",
        "5.0",
        "5.2-4",
        "9.4.1",
        "9.2-4.0",
        "9.2.9",
        " 5",
        "5\n",
        "\u0665",
        str(2**63),
    ],
)
def test_what_no_position_writes_is_none(text: str):
    """Holes out of order, touching, at or beyond the end; ids that Postgres would refuse."""
    assert Position.parse(text) is None


def test_the_largest_id_is_one():
    """As Postgres has it."""
    assert Position.parse(str(2**63 - 1)) is not None


# Closing


def closing(position: Position, *looks: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the holes that are left after looks with these (xmin, xmax)."""
    for xmin, xmax in looks:
        position.looked(up_to=position.after, xmin=xmin, xmax=xmax)
    return position.holes


@pytest.mark.parametrize(
    ("looks", "left"),
    [
        ([(10, 10)], [(1, 2)]),
        ([(10, 20), (19, 30)], [(1, 2)]),
        ([(10, 20), (19, 30), (20, 40)], []),
        ([(10, 20), (20, 20)], []),
    ],
)
def test_a_hole_is_closed_when_all_who_might_fill_it_have_ended(
    looks: list[tuple[int, int]], left: list[tuple[int, int]]
):
    """By a second look whose xmin has reached the xmax of the first; later ones do not put it off."""
    position, _ = passed(0, [3])
    assert closing(position, *looks) == left
    assert position.floor == (0 if left else 3)


def test_the_parts_of_a_hole_were_seen_when_it_was():
    """A row in its middle does not start the wait anew."""
    position, _ = passed(0, [6])
    closing(position, (10, 20))
    position.add(3)
    assert position.holes == [(1, 2), (4, 5)]
    assert closing(position, (20, 30)) == []


def test_holes_beyond_what_was_looked_at_stay():
    """A page that was cut says nothing of what comes after its last row."""
    position, _ = passed(0, [2, 4, 6])
    for _ in range(2):
        position.looked(up_to=4, xmin=50, xmax=50)
    assert position.holes == [(5, 5)]
    assert closing(position, (50, 50), (50, 50)) == []


def test_what_is_closed_has_been_passed():
    """A row that comes all the same is not taken: it cannot be of this journal."""
    position, _ = passed(0, [3])
    closing(position, (5, 5), (5, 5))
    assert 1 in position
    assert not position.add(1)
    assert position.text() == "3"
