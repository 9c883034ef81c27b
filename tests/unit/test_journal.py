"""The form of what ``bridge_journal_since()`` answers."""

import msgspec
import pytest

from bridge.journal import JournalPage, JournalRow


def test_a_page_is_read_as_the_function_writes_it():
    """Rows are arrays; records stay text."""
    text = b"""{"epoch": "1-2-3", "xmin": "7", "xmax": "9", "pruned": 0, "more": false,
        "rows": [[4, "public.t", "INSERT", "{\\"a\\": 1}", null, "2026-01-01T00:00:00.000Z"]]}"""
    page = msgspec.json.decode(text, type=JournalPage)
    assert page.rows == [JournalRow(4, "public.t", "INSERT", '{"a": 1}', None, "2026-01-01T00:00:00.000Z")]


def test_another_form_is_refused():
    """An older database's answer is not guessed at."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"rows": []}', type=JournalPage)


def test_a_row_says_which_table_it_is_of_after_what_only_a_stream_tells() -> None:
    """An older worker, which knows nine places, passes over the tenth."""
    text = b'[4, "public.t", "INSERT", null, null, "t", "7", false, 0, 16384]'
    assert msgspec.json.decode(text, type=JournalRow).oid == 16384
    fields = list(JournalRow.__struct_fields__)
    assert fields[6:] == ["txid", "last", "received_s", "oid"]
    older = msgspec.defstruct("Older", [(name, object) for name in fields[:9]], array_like=True)
    assert msgspec.json.decode(text, type=older).txid == "7"
    assert (
        msgspec.json.decode(b'[4, "public.t", "INSERT", null, null, "t", "7"]', type=JournalRow).oid is None
    )
