"""What can go wrong, and what then happens.

    BridgeError
    ├── ConfigError            ends the process before it serves (exit 2)
    ├── SourceError            upstream or the database: retried for ever, clients see `status`
    │   └── RpcError           one call to the project's REST endpoint failed
    │       └── AskedTimeoutError   policies took too long: those not decided by memory `resync`
    ├── DecodeError            one upstream frame: counted, skipped
    ├── CompileError           one policy: its table is not delivered, said in the log
    ├── QueryFailsError        Postgres itself refuses every SELECT on a table: nobody sees it
    └── ClientError            one connection: closed with `close_code`, or answered with `error`

Every class has a stable ``code`` for logs, metrics and docs/errors.md.  A message says what is so,
with values, then what to do; it never holds row content or a token.
"""

from typing import ClassVar


class BridgeError(Exception):
    """Base of all errors that the bridge raises on purpose."""

    code: ClassVar[str] = "internal"


class ConfigError(BridgeError):
    """A setting is missing or wrong; the process does not start."""

    code = "config"


class SourceError(BridgeError):
    """Upstream or the database does not do what was asked; the asking side tries again."""

    code = "source"


class RpcError(SourceError):
    """A call of a ``bridge_*`` function over the REST endpoint failed.

    Attributes:
        answer: The code that Postgres, PostgREST or the gateway gave; empty where nothing answered.
    """

    code = "rpc"

    def __init__(self, message: str, *, answer: str = "") -> None:
        super().__init__(message)
        self.answer = answer


class AskedTimeoutError(RpcError):
    """The database answers, but not in time who sees a row: its policies take too long."""

    code = "asked_timeout"


class DecodeError(BridgeError):
    """An upstream frame does not have the documented form."""

    code = "decode"


class CompileError(BridgeError):
    """A policy holds something that cannot be answered exactly from memory."""

    code = "compile"


class QueryFailsError(BridgeError):
    """Postgres would answer every SELECT on the table with an error, so nobody sees anything."""

    code = "query_fails"


class ClientError(BridgeError):
    """The client did something that ends its connection, or is answered with ``error``.

    Attributes:
        close_code: WebSocket close code (private range 4000-4999, RFC 6455 section 7.4.2).
        http_status: Status of the same refusal over HTTP.
    """

    code = "client"
    close_code: ClassVar[int] = 4400
    http_status: ClassVar[int] = 400


class MalformedMessageError(ClientError):
    """A message is not JSON, of no known type, binary, or not valid in this state."""

    code = "malformed"


class InvalidTokenError(ClientError):
    """No token, or one that does not verify against this project."""

    code = "invalid_token"
    close_code = 4401
    http_status = 401


class ForbiddenError(ClientError):
    """A refresh with another user's token, or an origin that is not allowed."""

    code = "forbidden"
    close_code = 4403
    http_status = 403


class AuthTimeoutError(ClientError):
    """The client did not authenticate in time."""

    code = "auth_timeout"
    close_code = 4408
    http_status = 408


class TokenExpiredError(ClientError):
    """The token's ``exp`` has passed: reconnect, or refresh before, with a new one."""

    code = "token_expired"
    close_code = 4409
    http_status = 401


class MessageTooLargeError(ClientError):
    """The client sent more bytes in a message than it may."""

    code = "message_too_large"
    close_code = 4413
    http_status = 413


class TooManyError(ClientError):
    """Too many connections (in all, of this user) or messages (on this connection)."""

    code = "too_many"
    close_code = 4429
    http_status = 429


class SlowConsumerError(ClientError):
    """The client reads slower than changes arrive, so its outbox is full."""

    code = "slow_consumer"
    close_code = 4430
    http_status = 503
