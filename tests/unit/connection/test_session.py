"""Protocol state of one client: messages and time in, commands out."""

import datetime as dt
import json

import msgspec
import pytest

from bridge.clock import ManualClock
from bridge.connection import messages
from bridge.connection.session import (
    Close,
    Enter,
    Renew,
    Send,
    Session,
    StartSubscription,
    State,
    StopSubscription,
    Verify,
)
from bridge.connection.tokens import Identity
from bridge.errors import SlowConsumerError
from bridge.events import Principal
from tests.support.events import ANN, BOB


class Driver:
    """A session and its clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.session = Session(connection_id="c1", opened_s=self.clock.monotonic_s(), ping_interval_s=25.0)

    def say(self, **message: object) -> list:
        return self.session.receive_text(
            json.dumps(message).encode(), now=self.clock.now(), now_s=self.clock.monotonic_s()
        )

    def verified(self, principal: Principal = ANN, *, ttl_s: float = 60) -> list:
        expires_at = self.clock.now() + dt.timedelta(seconds=ttl_s)
        return self.session.verified(Identity(principal, expires_at), now=self.clock.now())

    def wait(self, seconds: float) -> list:
        self.clock.advance(seconds)
        return self.session.receive_time(now=self.clock.now(), now_s=self.clock.monotonic_s())


def opened() -> Driver:
    driver = Driver()
    driver.session.receive_token("t")
    driver.verified()
    return driver


def code(commands: list) -> int:
    """Return the close code that ends ``commands``, after an error message."""
    assert isinstance(commands[-2].message, messages.Error)
    assert isinstance(commands[-1], Close)
    return commands[-1].code


@pytest.mark.parametrize("by_message", [True, False])
def test_a_good_token_opens_the_session(by_message: bool):  # noqa: FBT001 - a parameter of the test
    """From the handshake or as the first message: `connected`, with what the client has to know."""
    driver = Driver()
    asked = driver.say(type="auth", token="t") if by_message else driver.session.receive_token("t")
    assert asked == [Verify("t")]
    [enter] = driver.verified()
    assert isinstance(enter, Enter)
    assert msgspec.to_builtins(enter.message) == {
        "type": "connected",
        "connection_id": "c1",
        "user_id": "ann",
        "expires_at": "2026-01-01T00:01:00.000Z",
        "ping_interval_s": 25.0,
        "server_time": "2026-01-01T00:00:00.000Z",
        "protocol": 1,
    }
    assert (driver.session.state, driver.session.identity.principal) == (State.OPEN, ANN)


def test_commands_of_an_open_session():
    """Each message leads to what the contract says."""
    driver = opened()
    assert driver.say(type="subscribe", dialogs=["a"], since="e-1") == [
        StartSubscription(frozenset({"a"}), "e-1")
    ]
    assert driver.say(type="unsubscribe") == [StopSubscription(None)]
    now = "2026-01-01T00:00:00.000Z"
    assert driver.say(type="ping", id=7) == [Send(messages.Pong(now, 7))]
    assert driver.say(type="ping") == [Send(messages.Pong(now, msgspec.UNSET))]


def test_messages_before_the_token_are_out_of_order():
    """Only `auth` may come first."""
    assert code(Driver().say(type="subscribe")) == 4401


def test_messages_during_verification_wait_for_it():
    """A client may send its subscription at once; a second `auth` makes no sense yet."""
    driver = Driver()
    driver.session.receive_token("t")
    assert driver.say(type="subscribe") == []
    enter, start = driver.verified()
    assert (type(enter), start) == (Enter, StartSubscription(None, None))
    driver = Driver()
    driver.session.receive_token("t")
    assert code(driver.say(type="auth", token="t")) == 4400


def test_few_messages_may_wait_and_a_bad_one_ends_the_session_in_its_turn():
    """What waits is bounded."""
    driver = Driver()
    driver.session.receive_token("t")
    for _ in range(8):
        assert driver.say(type="ping") == []
    assert code(driver.say(type="ping")) == 4429
    driver = Driver()
    driver.session.receive_token("t")
    driver.say(type="subscribe", dialogs=list(range(1001)))
    assert code(driver.verified()) == 4400


def test_a_refresh_extends_the_session():
    """New expiry, perhaps new claims, the same user."""
    driver = opened()
    assert driver.say(type="auth", token="t2") == [Verify("t2")]
    elsewhere = Principal(role=ANN.role, user_id="ann", claims_json='{"org":1}')
    renew, send = driver.verified(elsewhere, ttl_s=120)
    assert (renew.identity.principal, send.message.expires_at) == (elsewhere, "2026-01-01T00:02:00.000Z")
    assert isinstance(renew, Renew)
    assert driver.wait(100) == []
    assert code(driver.wait(20)) == 4409


@pytest.mark.parametrize("other", [BOB, Principal(role="anon", user_id=None)])
def test_a_refresh_by_somebody_else_ends_the_session(other: Principal):
    """A connection belongs to one user."""
    assert code(opened().verified(other)) == 4403


def test_a_client_that_sends_no_token_is_given_five_seconds():
    """4408; while a token is being verified the deadline does not count."""
    driver = Driver()
    assert driver.wait(4.9) == []
    assert code(driver.wait(0.1)) == 4408
    driver = Driver()
    driver.session.receive_token("t")
    assert driver.wait(100) == []


def test_too_many_messages_end_the_session():
    """60 at once are fine, one more is not."""
    driver = opened()
    for _ in range(60):
        driver.say(type="ping")
    assert code(driver.say(type="ping")) == 4429


def test_nonsense_ends_the_session():
    """4400, with the reason in words."""
    driver = opened()
    assert code(driver.say(type="nonsense")) == 4400
    assert code(opened().say(type="subscribe", dialogs=list(range(1001)))) == 4400


def test_a_closed_session_does_nothing_more():
    """Whatever comes: messages, time, answers, further errors."""
    driver = opened()
    driver.session.fail(SlowConsumerError("x"))
    assert driver.say(type="ping") == []
    assert driver.verified() == []
    assert driver.wait(1000) == []
    assert driver.session.fail(SlowConsumerError("x")) == []


def test_a_long_reason_is_cut_to_what_a_close_frame_holds():
    """123 bytes, and no half of a letter; the message has all of it."""
    send, close = opened().session.fail(SlowConsumerError("é" * 100))
    assert send.message.message == "é" * 100
    assert close.reason == "é" * 61
