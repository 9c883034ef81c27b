"""jsonb that is made of values."""

import pytest

from tests.support.catalogs import ANN
from tests.support.policies import answer, refused


@pytest.mark.parametrize(
    "text",
    [
        "extra @> jsonb_build_array(auth.uid())",
        "jsonb_build_array(body) = '[null]'",
        "jsonb_build_array() = '[]'",
        "jsonb_build_object('a', 1, 'b', 'x', 'a', true) = '{\"a\": true, \"b\": \"x\"}'",
        "to_jsonb(body) is null",
        "to_jsonb(room_id) = '1'",
    ],
)
def test_a_document(text: str) -> None:
    """NULL is the null of JSON inside, and NULL where it stands alone; the last of equal keys counts."""
    assert answer(text, extra=[ANN]) is True


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("jsonb_build_array(1.5) = '[1.5]'", "the jsonb of a value of type numeric"),
        ("jsonb_build_object('a') = '{}'", "key without a value"),
        ("jsonb_build_object(body, 1) = '{}'", "no constant text"),
        ("jsonb_build_object(null, 1) = '{}'", "no constant text"),
    ],
)
def test_another_document_is_refused(text: str, reason: str) -> None:
    """Postgres prints it."""
    refused(text, reason)
