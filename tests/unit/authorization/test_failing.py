"""Which parts of a condition Postgres may answer with an error."""

from bridge.authorization import builtins
from bridge.authorization.algebra import Call, ColumnRef, Compare, Const, Opaque, Rows
from bridge.authorization.failing import failing

TEXT, JSON, ONE = ColumnRef(0, "t", "text"), ColumnRef(0, "j", "jsonb"), Const(1, "int")


def test_what_may_fail() -> None:
    """Casts, elements of what may be no array, two rows where one is expected, and what nobody knows."""
    cast = Compare("=", Call("text::int", (TEXT,), "int"), ONE)
    elements = Call("jsonb_array_elements(jsonb)", (JSON,), "jsonb[]")

    assert failing([cast, elements, Rows("one", (), "int"), Opaque("x", raises=True)]) == [True] * 4


def test_what_cannot() -> None:
    """Comparisons, operators of jsonb, and what is cut or ranked."""
    field = Compare("=", Call("jsonb ->> text", (JSON, Const("a", "text")), "text"), TEXT)
    rank = Call(builtins.RANK, (TEXT, Const(["a"], "text[]")), "int")

    assert failing([field, rank, ONE, Rows("first", (), "int"), Opaque("x")]) == [False] * 5
