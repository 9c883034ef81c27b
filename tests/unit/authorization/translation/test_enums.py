"""The order of enum values."""

import msgspec
import pytest

from bridge.authorization import builtins
from bridge.authorization.algebra import Call, Case, Coalesce, ColumnRef, Const, Rows
from bridge.authorization.catalog import Catalog, NamedType
from bridge.authorization.translation.enums import rank
from bridge.authorization.undecided import UndecidedError
from bridge.errors import CompileError
from tests.support import catalogs

TYPE = "enum:public.mood"
COLUMN = ColumnRef(0, "mood", TYPE)


def known(*labels: str) -> Catalog:
    return msgspec.structs.replace(
        catalogs.catalog(), types=(NamedType("public", "mood", "e", labels),) if labels else ()
    )


def test_labels_count_in_the_order_of_the_catalog() -> None:
    """Which is that of the type, not that of the alphabet; another order is another expression."""
    expr = rank(COLUMN, known("sad", "ok", "glad"))

    assert expr == Call(builtins.RANK, (COLUMN, Const(["sad", "ok", "glad"], "text[]")), "int")
    assert expr != rank(COLUMN, known("ok", "sad", "glad"))
    assert [builtins.run(builtins.RANK).run(label, ["sad", "ok"]) for label in ("sad", "ok")] == [0, 1]


def test_constants_are_ranked_at_once() -> None:
    """NULL has no rank."""
    catalog = known("sad", "ok")

    assert rank(Const("ok", TYPE), catalog) == Const(1, "int")
    assert rank(Const(None, TYPE), catalog) == Const(None, "int")


def test_choices_stay_outermost() -> None:
    """So that a look-up in a comparison is still one that the reverse index can follow."""
    catalog, ok = known("sad", "ok"), Const("ok", TYPE)

    assert isinstance(rank(Rows("first", (), TYPE), catalog), Rows)
    assert rank(Coalesce((ok, ok), TYPE), catalog) == Coalesce((Const(1, "int"), Const(1, "int")), "int")
    assert rank(Case((), ok, TYPE), catalog) == Case((), Const(1, "int"), "int")


def test_a_label_that_is_not_known_is_left_to_postgres() -> None:
    """It was added after the catalog was read."""
    with pytest.raises(UndecidedError):
        builtins.run(builtins.RANK).run("new", ["sad", "ok"])


def test_an_enum_without_labels_is_refused() -> None:
    """Nothing is known of its order."""
    with pytest.raises(CompileError, match=r"the order of public\.mood"):
        rank(COLUMN, known())
