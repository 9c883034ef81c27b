"""The values between stages: equal by content, and safe to share."""

import pytest

from bridge.events import Principal, RowEvent, View


def test_equal_principals_are_one_in_sets() -> None:
    """Connections of one user share what is decided for it; other claims are another principal."""
    same = {Principal(role="authenticated", user_id="a"), Principal(role="authenticated", user_id="a")}

    assert len(same) == 1
    assert Principal(role="authenticated", user_id="a", claims_json='{"org":1}') not in same


@pytest.mark.parametrize("value", [Principal(role="anon", user_id=None), View(action="INSERT")])
def test_values_do_not_change(value: object) -> None:
    """A stage that needs another value makes a new one."""
    with pytest.raises(AttributeError):
        value.role = "x"  # type: ignore[attr-defined]  # that it has none, or is frozen


def test_a_committed_change_is_for_everybody() -> None:
    """Only announcements name whom they are for."""
    event = RowEvent(
        table="public.x",
        new=None,
        old=None,
        key={"id": 1},
        dialog_id=None,
        commit_timestamp="t",
        received_s=0.0,
    )

    assert (event.only, event.announced, event.old_dialog_id) == (None, None, None)
