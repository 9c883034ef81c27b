"""Carries out what a session wants: at the hub, with the verifier of tokens, and in what its client is sent.

What may have to wait for somebody (a key, a replay) is work of the connection, done piece by piece; the rest
is done at once.
"""

from typing import Any, Protocol

from bridge import metrics
from bridge.connection import messages
from bridge.connection.ports import Context, Frame
from bridge.connection.session import (
    Close,
    Command,
    Enter,
    Renew,
    Send,
    Session,
    StartSubscription,
    StopSubscription,
    Verify,
)
from bridge.connection.tokens import Identity
from bridge.connection.work import Piece, Work
from bridge.connection.writer import Writer
from bridge.errors import ClientError, TooManyError


class Client(Protocol):
    """A connection, as far as its session's commands concern it.

    Attributes:
        context: What all connections share.
        session: What wants something; None before the handshake.
        subscriber: Whom the hub knows; None before the client has entered.
        work: Does what may have to wait.
        writer: Sends.
    """

    context: Context
    session: Session | None
    subscriber: Any
    work: Work
    writer: Writer

    def offer(self, frame: Frame) -> None:
        """Queue a frame for the client."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""


def carry_out(client: Client, commands: list[Command], *, owing: bool = False) -> None:
    """Do what the session wants; answers wait while one to an earlier request is owed."""
    for command in commands:
        match command:
            case Send(message=message) if owing and not isinstance(message, messages.Error):
                _do(client, _answer(client, message))
            case Send(message=message):
                client.writer.send_text(messages.encode(message))
            case Verify(token=token):
                _verify(client, token)
            case Enter():
                _enter(client, command)
            case Renew(identity=identity):
                client.context.hub.renew(client.subscriber, identity.principal)
            case StartSubscription(dialogs=dialogs, since=since):
                _do(client, _subscribe(client, dialogs, since))
            case StopSubscription(dialogs=dialogs):
                _do(client, _unsubscribe(client, dialogs))
            case Close(code=code, reason=reason):
                client.close(code, reason)
        owing = owing or isinstance(command, StartSubscription | StopSubscription)


def fail(client: Client, error: ClientError) -> None:
    """Refuse the client, and count that."""
    metrics.note_refused(error.code)
    if client.session is not None:
        carry_out(client, client.session.fail(error))


def visit_at_expiry(client: Client) -> None:
    """Have the sweeper come when the client's token expires."""
    identity = None if client.session is None else client.session.identity
    if identity is not None:
        clock = client.context.clock
        left_s = (identity.expires_at - clock.now()).total_seconds()
        client.context.sweeper.visit_at(client, clock.monotonic_s() + left_s)


def _enter(client: Client, command: Enter) -> None:
    principal = command.identity.principal
    try:
        client.context.connections.enter_user(principal)
    except TooManyError as error:
        fail(client, error)
        return
    client.subscriber = client.context.hub.connect(principal, client)
    client.writer.send_text(messages.encode(command.message))
    client.offer(client.context.hub.status())


def _verify(client: Client, token: str) -> None:
    try:
        identity = client.context.verifier.verify_at_once(token) if client.work.is_idle else None
    except ClientError as error:
        fail(client, error)
        return
    if identity is None:
        _do(client, _verify_later(client, token))
    else:  # nearly always, and without a task
        _verified(client, identity)


async def _verify_later(client: Client, token: str) -> None:
    try:
        _verified(client, await client.context.verifier.verify(token))
    except ClientError as error:
        fail(client, error)


def _verified(client: Client, identity: Identity) -> None:
    if client.writer.is_open and client.session is not None:
        carry_out(client, client.session.verified(identity, now=client.context.clock.now()))
        visit_at_expiry(client)


async def _answer(client: Client, message: messages.ServerMessage) -> None:
    client.writer.send_text(messages.encode(message))


async def _subscribe(client: Client, dialogs: frozenset[str] | None, since: str | None) -> None:
    if client.subscriber is not None:
        await client.context.hub.subscribe(client.subscriber, dialogs=dialogs, since=since)


async def _unsubscribe(client: Client, dialogs: frozenset[str] | None) -> None:
    if client.subscriber is not None:
        client.context.hub.unsubscribe(client.subscriber, dialogs=dialogs)


def _do(client: Client, piece: Piece) -> None:
    if not client.work.add(piece):
        fail(client, TooManyError("too many messages at once: wait for the answers"))
