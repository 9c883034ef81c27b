"""Remembered rows: bounded, the least recently seen go first, deleted ones stay known as deleted."""

from bridge.authorization.remembered import GONE, RememberedRows


def rows(limit: int = 2) -> RememberedRows:
    return RememberedRows(primary_key=["id"], columns=["id", "b", "a"], limit=limit)


def test_a_row_comes_back_with_the_kept_columns() -> None:
    """The key first, then the others by name."""
    memory = rows()
    memory.put({"id": 1, "a": 2, "b": 3, "else": 4})

    assert memory.columns == ("id", "a", "b")
    assert memory.get(memory.key_of({"id": 1})) == {"id": 1, "a": 2, "b": 3}
    assert memory.get((2,)) is None


def test_a_deleted_row_is_known_to_be_gone() -> None:
    """That is more than not to know it."""
    memory = rows()
    memory.put({"id": 1, "a": 2, "b": 3})
    memory.mark_gone((1,))

    assert memory.get((1,)) is GONE
    assert len(memory) == 1


def test_the_least_recently_seen_goes_first() -> None:
    """Asking counts as seeing."""
    memory = rows(limit=2)
    for number in (1, 2):
        memory.put({"id": number, "a": 0, "b": 0})
    memory.get((1,))
    memory.put({"id": 3, "a": 0, "b": 0})

    assert [memory.get((number,)) is not None for number in (1, 2, 3)] == [True, False, True]
