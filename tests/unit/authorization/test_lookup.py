"""Look-up tables: rows by primary key, and indexes that follow every change."""

from collections.abc import Mapping

from bridge.authorization.lookup import FEW, Bucket, LookupTable, rows_in, same


def members() -> LookupTable:
    table = LookupTable("public.members", primary_key=["room", "who"], columns=["role", "room"])
    for row in ({"room": "a", "who": "u", "role": "x"}, {"room": "a", "who": "v", "role": None}):
        table.put(table.pack(row))
    return table


def found(index: Mapping[object, Bucket]) -> dict[object, set[tuple[object, ...]]]:
    """What an index holds, in no order."""
    return {key: set(rows_in(bucket)) for key, bucket in index.items()}


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

    assert found(by_room) == {"a": {("a", "u", "x"), ("a", "v", None)}}
    assert table.index(["room"]) is by_room
    assert found(table.index(["role"])) == {"x": {("a", "u", "x")}}
    assert found(table.index(["role", "room"])) == {("x", "a"): {("a", "u", "x")}}


def test_an_index_follows_put() -> None:
    """A new row is added, a changed one is moved, the same one changes nothing."""
    table = members()
    by_room, by_role = table.index(["room"]), table.index(["role"])

    assert table.put(("b", "u", "x")) is None
    assert table.put(("a", "u", "y")) == ("a", "u", "x")
    assert table.put(("a", "u", "y")) == ("a", "u", "y")
    assert found(by_room) == {"a": {("a", "u", "y"), ("a", "v", None)}, "b": {("b", "u", "x")}}
    assert found(by_role) == {"y": {("a", "u", "y")}, "x": {("b", "u", "x")}}


def test_an_index_follows_remove() -> None:
    """The last row of a key takes the key with it; a row that is not there is no error."""
    table = members()
    by_room = table.index(["room"])
    table.index(["role"])

    assert table.remove(("a", "u")) == ("a", "u", "x")
    assert found(by_room) == {"a": {("a", "v", None)}}
    assert table.remove(("a", "v")) == ("a", "v", None)
    assert table.remove(("a", "v")) is None
    assert by_room == {}


def test_an_entry_of_many_rows_follows_every_change() -> None:
    """Few rows are a tuple, many are kept by their key: both lose and change the right one."""
    table = LookupTable("public.members", primary_key=["room", "who"], columns=["role"])
    by_room = table.index(["room"])
    rows = {("a", number, "x") for number in range(FEW + 3)}
    for row in rows:
        table.put(row)
    assert found(by_room) == {"a": rows}

    table.put(("a", 0, "y"))
    table.remove(("a", 1))
    assert found(by_room) == {"a": rows - {("a", 0, "x"), ("a", 1, "x")} | {("a", 0, "y")}}
    for number in range(FEW + 3):
        table.remove(("a", number))
    assert by_room == {}


def test_values_of_every_type_are_kept_as_they_are() -> None:
    """Json and arrays, too: policies look into them."""
    table = LookupTable("public.x", primary_key=["id"], columns=["kind", "tags"])
    for row in ({"id": 1, "kind": "k", "tags": ["a"]}, {"id": 2, "kind": "k", "tags": {"a": 1}}):
        table.put(table.pack(row))
    table.put((1, "k", ["b"]))

    assert list(rows_in(table.index(["kind"])["k"])) == [(1, "k", ["b"]), (2, "k", {"a": 1})]


def test_texts_that_repeat_are_kept_once() -> None:
    """A user's id in a thousand memberships is one text."""
    table = members()
    one, two = (table.pack({"room": f"r{number}", "who": "u", "role": "x"}) for number in (1, 1))

    assert one[0] is two[0]


def test_rows_that_python_calls_equal_may_differ() -> None:
    """In jsonb 1 is not true, and 1.0 is printed in another way: the newer row counts."""
    table = LookupTable("t", primary_key=["id"], columns=["data"])
    table.put((1, {"on": 1}))
    table.put((1, {"on": True}))

    assert same((1, {"on": 1}), (1, {"on": 1}))
    assert not same((1, {"on": 1}), (1, {"on": True}))
    assert same(None, None)
    assert table.rows[1][1]["on"] is True
