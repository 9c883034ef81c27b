"""Findings as lines and as JSON."""

import json

from bridge.checking.report import Check, as_json, bad, divided, failed, lines, ok, pasted, told, unchecked

FOUND = [
    ok("key", "a secret key"),
    bad("captured", "not there", "select 1;\nselect 2;", "sql", subject="public.t"),
    unchecked("slots", "no database"),
    unchecked("triggers", "no database"),
]


def test_a_finding_is_a_line_with_its_fix_below() -> None:
    """Aligned, to be pasted; those that one reason kept from being checked share a line."""
    assert lines(FOUND) == [
        "ok           key                a secret key",
        "fail         captured public.t  not there",
        "             fix (sql): select 1;\n             select 2;",
        "not checked  ...                slots, triggers: no database",
        "4 checks: 1 failed, 0 warnings, 2 not checked",
    ]


def test_json_has_every_field_of_every_finding() -> None:
    """Stable for scripts: a list, nothing left out."""
    found = json.loads(as_json(FOUND))
    assert [set(one) for one in found] == [set(Check.__struct_fields__)] * 4
    assert found[0] == {
        "check": "key",
        "subject": "",
        "status": "ok",
        "says": "a secret key",
        "fix": "",
        "paste": "",
    }


def test_only_what_keeps_events_away_has_failed() -> None:
    """Not a warning."""
    assert failed(FOUND)
    assert not failed([bad("a", "b", "c", status="warning"), *FOUND[2:]])


def test_a_message_of_ours_holds_its_fix() -> None:
    """After the last colon."""
    assert divided("a: b (c: d): alter table t") == ("a: b (c: d)", "alter table t")
    assert divided("nothing") == ("nothing", "see docs/errors.md")
    assert told("x", "t is not watched: select public.bridge_watch('t')").paste == "sql"
    assert pasted("alter publication p set (x), and add the table") == ""
    assert pasted("bridge migrate") == "shell"
