"""docs/protocol.md names all that is on the wire."""

import inspect
import re

import msgspec
import pytest

from bridge import errors
from bridge.connection import handshake, limits, messages, poll, session
from bridge.fanout import EventEncoder, notices
from tests.support.stack import ROOT

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
MESSAGES = [
    made
    for module in (messages, notices)
    for made in vars(module).values()
    if inspect.isclass(made) and issubclass(made, msgspec.Struct) and made.__module__ == module.__name__
]
CODES = sorted(
    {e.close_code for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, errors.ClientError)}
)


@pytest.mark.parametrize("code", [*CODES, 1000, 1001, 1002, 1011, 1012])
def test_every_close_code_has_a_row_with_what_to_do(code: int):
    """In the table of close codes, with a word on retrying."""
    rows = [line.split("|") for line in PROTOCOL.splitlines() if re.match(r"\| \d{4}", line)]
    [row] = [cells for cells in rows if str(code) in cells[1]]
    assert all(cell.strip() for cell in row[1:4])


def test_no_close_code_is_documented_that_is_never_sent():
    """The other direction."""
    documented = {int(code) for code in re.findall(r"\b4[34]\d\d\b", PROTOCOL)}
    assert documented == set(CODES)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: m.__name__)
def test_every_message_is_shown_with_its_fields(message: type[msgspec.Struct]):
    """As an example or in a table, by its type."""
    tag = msgspec.inspect.type_info(message).tag  # type: ignore[union-attr]
    shown = re.findall(rf'\{{"type":"{tag}".*?\}}', PROTOCOL)
    assert shown, tag
    for field in message.__struct_fields__:
        assert any(f'"{field}"' in example for example in shown), (tag, field)


def test_every_event_type_is_in_the_table():
    """For each kind of table and each experience."""
    encoder = EventEncoder(dialog_table="d", message_table="m")
    for table in ("d", "m", "other"):
        for action in ("INSERT", "UPDATE", "DELETE"):
            assert f"`{encoder.type_of(table, action)}`" in PROTOCOL


def test_the_limits_are_those_of_the_code():
    """Numbers that a client may run into."""
    assert handshake.MAX_MESSAGE_BYTES == 64 * 1024
    for text in (
        "64 KiB",
        f"{messages.MAX_DIALOGS:,} dialogs",
        f"{limits.MESSAGES_AT_ONCE:g} messages at once and {limits.MESSAGES_PER_S:g} a second",
        f"within {session.AUTH_TIMEOUT_S:g} s",
        f"At most {poll.MAX_EVENTS} events or {poll.MAX_BYTES // 2**20} MiB",
        f"0 to {poll.MAX_TIMEOUT_S:g}, default {poll.DEFAULT_TIMEOUT_S:g}",
    ):
        assert text in PROTOCOL, text
