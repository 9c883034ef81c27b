"""Bindings: which changes they match, and which filters are refused."""

from typing import Any

import msgspec
import pytest

from bridge.local.subscriptions import FilterError, binding_id, read_binding

INSERT = {
    "schema": "public",
    "table": "t",
    "type": "INSERT",
    "record": {"id": 5, "s": "b", "n": None, "ok": True},
}
DELETE = {"schema": "public", "table": "t", "type": "DELETE", "old_record": {"id": 5}}


def matches(data: dict[str, Any], **config: str) -> bool:
    """Whether a binding with these settings matches."""
    return read_binding({"event": "*", "schema": "public", "table": "t", **config}).matches(data)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, True),
        ({"event": "INSERT"}, True),
        ({"event": "insert"}, True),
        ({"event": "UPDATE"}, False),
        ({"table": "other"}, False),
        ({"table": "*"}, True),
        ({"schema": "private"}, False),
        ({"schema": "*"}, True),
        ({"filter": "id=eq.5"}, True),
        ({"filter": "id=neq.5"}, False),
        ({"filter": "id=lt.10"}, True),
        ({"filter": "id=gt.10"}, False),
        ({"filter": "id=lte.5"}, True),
        ({"filter": "id=gte.6"}, False),
        ({"filter": "id=in.(4,5)"}, True),
        ({"filter": "id=in.(4,6)"}, False),
        ({"filter": "s=eq.b"}, True),
        ({"filter": "s=gt.a"}, True),
        ({"filter": "ok=eq.true"}, True),
        ({"filter": "n=neq.1"}, False),
        ({"filter": "none=eq.1"}, False),
        ({"filter": "id=eq.5,s=eq.b"}, True),
        ({"filter": "id=eq.5,s=eq.c"}, False),
        ({"filter": "id=in.(4,5),s=eq.b"}, True),
    ],
)
def test_a_binding_matches_by_table_event_and_filters(config: dict[str, str], expected: bool):  # noqa: FBT001
    """All filters have to hold; NULL fits none; numbers are compared as numbers."""
    assert matches(INSERT, **config) is expected


def test_values_in_their_own_json_text_are_compared_too():
    """Numbers arrive as Postgres wrote them."""
    change = {**INSERT, "record": {"id": msgspec.Raw(b"9007199254740993")}}

    assert matches(change, filter="id=eq.9007199254740993")
    assert not matches(change, filter="id=eq.9007199254740992")


def test_a_delete_is_filtered_by_its_old_row():
    """There is no other."""
    assert matches(DELETE, filter="id=eq.5")
    assert not matches(DELETE, filter="s=eq.b")


@pytest.mark.parametrize("text", ["id=like.x", "id=eq", "id", "id=is.null"])
def test_a_filter_that_is_none_is_refused(text: str):
    """In the words of the real server; never ignored."""
    with pytest.raises(FilterError, match="Error parsing `filter` params"):
        read_binding({"filter": text})


def test_the_same_binding_has_the_same_id():
    """Whatever the order of its keys."""
    assert binding_id({"event": "*", "schema": "x"}) == binding_id({"schema": "x", "event": "*"})
    assert binding_id({"event": "*", "schema": "x"}) != binding_id({"event": "*", "schema": "y"})
