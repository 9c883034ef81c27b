"""Protocol state of one WebSocket client: messages and time go in, commands come out.

Nothing here waits, reads a clock or knows a socket.
"""

import datetime as dt
import enum
from typing import TypeAlias

import msgspec

from bridge.clock import rfc3339_ms
from bridge.connection.limits import MESSAGES_PER_S, MessageRate
from bridge.connection.messages import (
    Auth,
    Authenticated,
    ClientMessage,
    Connected,
    Error,
    Ping,
    Pong,
    ServerMessage,
    Subscribe,
    Unsubscribe,
    decode,
    dialog_ids,
)
from bridge.connection.tokens import Identity
from bridge.errors import (
    AuthTimeoutError,
    ClientError,
    ForbiddenError,
    InvalidTokenError,
    MalformedMessageError,
    TokenExpiredError,
    TooManyError,
)

AUTH_TIMEOUT_S = 5.0
"""Seconds a client may take until it has sent a token."""

EARLY_MESSAGES = 8
"""Messages that may arrive while the token is being verified."""


class State(enum.Enum):
    """Where a session stands."""

    UNAUTHENTICATED = "waiting for a token"
    AUTHENTICATING = "verifying the token"
    OPEN = "open"
    CLOSED = "closed"


class Verify(msgspec.Struct, frozen=True):
    """Verify a token, then call ``verified`` or ``refused``."""

    token: str


class Enter(msgspec.Struct, frozen=True):
    """Register the client with the hub, then send ``message`` and the upstream status."""

    identity: Identity
    message: Connected


class Renew(msgspec.Struct, frozen=True):
    """The claims may have changed: tell the hub whom the client speaks for now."""

    identity: Identity


class StartSubscription(msgspec.Struct, frozen=True):
    """Subscribe at the hub."""

    dialogs: frozenset[str] | None
    since: str | None


class StopSubscription(msgspec.Struct, frozen=True):
    """Unsubscribe at the hub."""

    dialogs: frozenset[str] | None


class Send(msgspec.Struct, frozen=True):
    """Send a message."""

    message: ServerMessage


class Close(msgspec.Struct, frozen=True):
    """Close the connection; ``code`` and ``reason`` as in RFC 6455."""

    code: int
    reason: str


Command: TypeAlias = Verify | Enter | Renew | StartSubscription | StopSubscription | Send | Close


class Session:
    """One client's session.

    Every method returns the commands that the transport has to carry out, in order.
    """

    __slots__ = (
        "_connection_id",
        "_early",
        "_identity",
        "_ping_interval_s",
        "_rate",
        "deadline_s",
        "refusal",
        "state",
        "unverified",
    )

    def __init__(self, *, connection_id: str, opened_s: float, ping_interval_s: float) -> None:
        self.state = State.UNAUTHENTICATED
        self.deadline_s: float | None = opened_s + AUTH_TIMEOUT_S
        """When the client has to have sent a token; None once it has."""
        self.refusal: ClientError | None = None
        """Why we closed the session; None if we did not."""
        self.unverified = 0
        """Tokens whose verification has not ended: their answers are still to come."""
        self._connection_id = connection_id
        self._ping_interval_s = ping_interval_s
        self._rate = MessageRate(opened_s)
        self._identity: Identity | None = None
        self._early: list[ClientMessage] = []

    @property
    def identity(self) -> Identity | None:
        """Who the client is; None until that is known."""
        return self._identity

    def receive_token(self, token: str) -> list[Command]:
        """Take the token that came with the handshake."""
        self.unverified += 1
        self.state, self.deadline_s = State.AUTHENTICATING, None
        return [Verify(token)]

    def receive_text(self, data: bytes, *, now: dt.datetime, now_s: float) -> list[Command]:
        """Take a text message."""
        if self.state is State.CLOSED:
            return []
        if not self._rate.take(now_s):
            return self.fail(
                TooManyError(f"more than {MESSAGES_PER_S:g} messages per second: send less often")
            )
        try:
            return self._receive(decode(data), now)
        except ClientError as error:
            return self.fail(error)

    def verified(self, identity: Identity, *, now: dt.datetime) -> list[Command]:
        """Take the answer to ``Verify``: the token is good."""
        self.unverified -= 1
        expires_at = rfc3339_ms(identity.expires_at)
        if self.state is State.CLOSED:
            return []
        if self._identity is not None:
            known, new = self._identity.principal, identity.principal
            if (known.user_id, known.role) != (new.user_id, new.role):
                return self.fail(ForbiddenError("the new token is of another user: open a new connection"))
            self._identity = identity
            return [Renew(identity), Send(Authenticated(expires_at))]
        self._identity = identity
        self.state = State.OPEN
        connected = Connected(
            connection_id=self._connection_id,
            user_id=identity.principal.user_id,
            expires_at=expires_at,
            ping_interval_s=self._ping_interval_s,
            server_time=rfc3339_ms(now),
        )
        commands: list[Command] = [Enter(identity, connected)]
        early, self._early = self._early, []
        for message in early:
            try:
                commands += self._receive(message, now)
            except ClientError as error:
                return [*commands, *self.fail(error)]
        return commands

    def receive_time(self, *, now: dt.datetime, now_s: float) -> list[Command]:
        """Take the time: deadlines may have passed."""
        if self.state is State.CLOSED:
            return []
        if self.deadline_s is not None and now_s >= self.deadline_s:
            return self.fail(AuthTimeoutError(f"no token within {AUTH_TIMEOUT_S:g} s: send auth first"))
        if self._identity is not None and now >= self._identity.expires_at:
            return self.fail(TokenExpiredError("the token has expired: connect again with a new one"))
        return []

    def fail(self, error: ClientError) -> list[Command]:
        """Close the session because of ``error``, which the client is told."""
        if self.state is State.CLOSED:
            return []
        self.state, self.deadline_s, self.refusal = State.CLOSED, None, error
        # RFC 6455 section 5.5: a control frame carries 125 bytes, 2 of which are the code.
        reason = str(error).encode()[:123].decode(errors="ignore")
        return [Send(Error(error.code, str(error))), Close(error.close_code, reason)]

    def _receive(self, message: ClientMessage, now: dt.datetime) -> list[Command]:
        match self.state, message:
            case State.UNAUTHENTICATED, Auth(token=token):
                return self.receive_token(token)
            case State.UNAUTHENTICATED, _:
                raise InvalidTokenError("the first message has to be auth, with a token")
            case State.AUTHENTICATING, Auth():
                raise MalformedMessageError("auth was sent twice: wait for connected")
            case State.AUTHENTICATING, _:
                if len(self._early) >= EARLY_MESSAGES:
                    raise TooManyError("too many messages before connected: wait for it")
                self._early.append(message)
                return []
            case _, Auth(token=token):
                self.unverified += 1
                return [Verify(token)]
            case _, Ping(id=id_):
                return [Send(Pong(rfc3339_ms(now), msgspec.UNSET if id_ is None else id_))]
            case _, Subscribe(dialogs=dialogs, since=since):
                return [StartSubscription(dialog_ids(dialogs), since)]
            case _, Unsubscribe(dialogs=dialogs):
                return [StopSubscription(dialog_ids(dialogs))]
