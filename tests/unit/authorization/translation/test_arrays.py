"""Arrays that are put together, split and asked for an element."""

import pytest

from tests.support.policies import answer, refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'a' = any (tags || 'b'::text)", True),
        ("'b' = any ('b'::text || tags)", True),
        ("'b' = any (tags || '{b}')", True),
        ("cardinality(null::text[] || tags) = 1", True),
        ("cardinality(tags || null::text) = 2", True),
        ("(null::text[] || null::text[]) is null", True),
        ("(array['x'] || 'y'::text)[2] = 'y'", True),
        ("(string_to_array('a/b', '/'))[3] is null", True),
        ("((string_to_array('a/b/c', '/'))[2:9])[1] = 'b'", True),
        ("cardinality((string_to_array('a/b/c', '/'))[0:2]) = 2", True),
        ("cardinality((string_to_array('a', '/'))[1:0]) = 0", True),
        ("(string_to_array('a', '/'))[1:null] is null", True),
        ("(string_to_array(body, '/'))[1] is null", True),
    ],
)
def test_an_array(text: str, expected: bool) -> None:  # noqa: FBT001
    """NULL is left out of what is put together, and is what stands at no position."""
    assert answer(text, tags=["a"]) is expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tags[1] = 'a'", "first position"),
        ("(array[1, 2])[1:] = '{1}'", "subscript"),
        ("(array[1, 2])[1][1] = 1", "several subscripts"),
        ("extra['a'] = '1'", "not an array"),
        ("'a' = any (string_to_array(body, tags[1]))", "first position"),
        ("'a' = any (string_to_array('a', body))", "string_to_array"),
        ("'a' = any (tags || 1)", "int where text"),
    ],
)
def test_another_array_is_refused(text: str, reason: str) -> None:
    """Postgres knows where a column's array starts."""
    refused(text, reason)
