"""Limits: connections in all and of a user, messages on one."""

import pytest

from bridge.connection.limits import MESSAGES_AT_ONCE, Connections, MessageRate
from bridge.errors import TooManyError
from bridge.events import Principal
from tests.support.events import ANN, BOB

ANON = Principal(role="anon", user_id=None)


def test_there_are_no_more_connections_than_allowed():
    """One that leaves makes room."""
    connections = Connections(limit=1, limit_per_user=9)
    connections.enter()
    with pytest.raises(TooManyError, match="the server has 1 connections"):
        connections.enter()
    connections.leave()
    connections.enter()
    assert len(connections) == 1


def test_a_user_has_no_more_than_allowed_and_others_are_not_concerned():
    """One that leaves makes room, and nothing is kept of who has left."""
    connections = Connections(limit=9, limit_per_user=2)
    connections.enter_user(ANN)
    connections.enter_user(ANN)
    with pytest.raises(TooManyError, match="this user has 2 connections"):
        connections.enter_user(ANN)
    connections.enter_user(BOB)
    connections.leave_user(ANN)
    connections.enter_user(ANN)
    for principal in (ANN, ANN, BOB):
        connections.leave_user(principal)
    assert not connections._of_user


def test_anonymous_clients_are_not_told_apart():
    """They have no limit of their own."""
    connections = Connections(limit=9, limit_per_user=1)
    connections.enter_user(ANON)
    connections.enter_user(ANON)
    connections.leave_user(ANON)


def test_a_client_may_send_a_burst_and_then_a_steady_rate():
    """60 at once, 20 a second; waiting longer saves up no more than a burst."""
    rate = MessageRate(0.0)
    assert all(rate.take(0.0) for _ in range(int(MESSAGES_AT_ONCE)))
    assert not rate.take(0.0)
    assert rate.take(0.05)
    assert not rate.take(0.05)
    assert sum(rate.take(1000.0) for _ in range(100)) == MESSAGES_AT_ONCE
