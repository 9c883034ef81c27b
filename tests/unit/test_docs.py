"""docs/protocol.md names all that is on the wire."""

import inspect
import re
from typing import Any, get_args

import msgspec
import pytest

from bridge import errors, metrics
from bridge.connection import handshake, limits, messages, poll, session
from bridge.events import ResyncReason
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


MISSING = (ROOT / "docs" / "missing.md").read_text()


def _words(annotation: Any) -> set[str]:
    """Return the words of a Literal, or of a union of some."""
    return {
        word for part in get_args(annotation) for word in ([part] if isinstance(part, str) else _words(part))
    }


def _documented(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under ``heading``, by their first cell."""
    section = MISSING.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): cells[1:] for cells in rows}


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("Reasons of `resync`", _words(ResyncReason)),
        ("Changes that do not reach somebody", _words(metrics.Undelivered)),
    ],
)
def test_whatever_does_not_arrive_is_documented_with_what_to_do(heading: str, words: set[str]):
    """Every reason of the code and no other; the type checker holds the code to these words."""
    found = _documented(heading)
    assert found.keys() == words
    assert all(cell.strip() for cells in found.values() for cell in cells)


def test_the_reasons_of_the_browser_client_and_of_frames_are_named():
    """They are no types here: the sources say them."""
    client = "".join(p.read_text() for p in (ROOT / "bridge" / "client" / "src").glob("*.ts"))
    own = set(re.findall(r"resync\('(\w+)'", client)) | set(re.findall(r"this\.reason = '(\w+)'", client))
    code = "".join(p.read_text() for p in (ROOT / "bridge").rglob("*.py"))
    skipped = set(re.findall(r'FRAMES_SKIPPED\.labels\("(\w+)"\)', code))
    assert own
    assert skipped
    for word in own | skipped:
        assert f"`{word}`" in MISSING, word
    outside = code.replace((ROOT / "bridge" / "metrics.py").read_text(), "")
    assert "UNDELIVERABLE.labels" not in outside  # undelivered() checks the reason
