"""Look-up tables: rows by primary key, and indexes that follow every change."""

from bridge.authorization.lookup import LookupTable


def members() -> LookupTable:
    table = LookupTable("public.members", primary_key=["room", "who"], columns=["role", "room"])
    for row in ({"room": "a", "who": "u", "role": "x"}, {"room": "a", "who": "v", "role": None}):
        table.put(table.pack(row))
    return table


def test_only_needed_columns_are_kept_the_key_first() -> None:
    """The rest of a row is not held."""
    table = members()

    assert table.columns == ("room", "who", "role")
    assert table.pack({"room": "b", "who": "w", "role": 1, "else": 2}) == ("b", "w", 1)
    assert len(table) == 2


def test_the_key_of_one_column_is_its_value() -> None:
    """Of several, a tuple."""
    single = LookupTable("public.rooms", primary_key=["id"], columns=[])

    assert single.key_of({"id": 1, "x": 2}) == 1
    assert members().key_of({"who": "u", "room": "a"}) == ("a", "u")


def test_an_index_is_made_once_from_the_rows_there_are() -> None:
    """Rows with NULL in a column of it are not in it."""
    table = members()
    by_room = table.index(["room"])

    assert by_room == {"a": {("a", "u", "x"), ("a", "v", None)}}
    assert table.index(["room"]) is by_room
    assert table.index(["role"]) == {"x": {("a", "u", "x")}}
    assert table.index(["role", "room"]) == {("x", "a"): {("a", "u", "x")}}


def test_an_index_follows_put() -> None:
    """A new row is added, a changed one is moved, the same one changes nothing."""
    table = members()
    by_room, by_role = table.index(["room"]), table.index(["role"])

    assert table.put(("b", "u", "x")) is None
    assert table.put(("a", "u", "y")) == ("a", "u", "x")
    assert table.put(("a", "u", "y")) == ("a", "u", "y")
    assert by_room == {"a": {("a", "u", "y"), ("a", "v", None)}, "b": {("b", "u", "x")}}
    assert by_role == {"y": {("a", "u", "y")}, "x": {("b", "u", "x")}}


def test_an_index_follows_remove() -> None:
    """The last row of a key takes the key with it; a row that is not there is no error."""
    table = members()
    by_room = table.index(["room"])
    table.index(["role"])

    assert table.remove(("a", "u")) == ("a", "u", "x")
    assert by_room == {"a": {("a", "v", None)}}
    assert table.remove(("a", "v")) == ("a", "v", None)
    assert table.remove(("a", "v")) is None
    assert by_room == {}


def test_values_that_can_only_be_null_are_held_as_text() -> None:
    """Json and arrays have no place in an index, but a row has to be hashable."""
    table = LookupTable("public.x", primary_key=["id"], columns=["tags"])

    assert table.pack({"id": 1, "tags": ["a"]}) == (1, "['a']")
    assert table.pack({"id": 1, "tags": {"a": 1}}) == (1, "{'a': 1}")
