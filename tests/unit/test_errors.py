"""The tree of errors: stable codes, and what clients are told."""

import inspect

import pytest

from bridge import errors
from bridge.errors import BridgeError, ClientError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, BridgeError)]
CLIENT = [c for c in CLASSES if issubclass(c, ClientError)]


def test_every_class_has_a_code_of_its_own() -> None:
    """Logs, metrics and docs/errors.md go by it."""
    codes = [c.code for c in CLASSES]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", CLIENT, ids=lambda c: c.code)
def test_a_client_error_closes_with_a_private_code(error: type[ClientError]) -> None:
    """4000-4999 is what RFC 6455 leaves to applications; over HTTP it is an error, too."""
    assert 4400 <= error.close_code <= 4499
    assert 400 <= error.http_status <= 599


@pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.code)
def test_every_class_says_when_it_is_raised(error: type[BridgeError]) -> None:
    """In its docstring, and in the tree at the top of the module, where it stands on its own."""
    assert error.__doc__
    assert error.__name__.endswith("Error")


@pytest.mark.parametrize(
    ("error", "close_code"),
    [
        (errors.MalformedMessageError, 4400),
        (errors.InvalidTokenError, 4401),
        (errors.ForbiddenError, 4403),
        (errors.AuthTimeoutError, 4408),
        (errors.TokenExpiredError, 4409),
        (errors.MessageTooLargeError, 4413),
        (errors.TooManyError, 4429),
        (errors.SlowConsumerError, 4430),
    ],
)
def test_close_codes_are_the_published_ones(error: type[ClientError], close_code: int) -> None:
    """Clients depend on them."""
    assert error.close_code == close_code
