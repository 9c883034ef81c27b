"""Which pages may connect."""

import pytest

from bridge.connection.origins import Origins
from bridge.errors import ForbiddenError

APP = "https://app.example.com"


@pytest.mark.parametrize("allowed", [(), ("*",), (APP, "*")])
@pytest.mark.parametrize("origin", [None, "https://any.example.com"])
def test_without_a_list_every_page_may(allowed: tuple[str, ...], origin: str | None):
    """And so may what is no page."""
    Origins(allowed).check(origin)


@pytest.mark.parametrize("origin", [APP, "HTTPS://App.Example.com"])
def test_listed_origins_may(origin: str):
    """In whatever case; a slash at the end of the setting does no harm."""
    Origins((f"{APP}/",)).check(origin)


@pytest.mark.parametrize(
    "origin", [None, "", "null", f"{APP}.evil.com", f"{APP}:8443", "http://app.example.com"]
)
def test_others_may_not(origin: str | None):
    """Other host, port or scheme, or none at all."""
    with pytest.raises(ForbiddenError):
        Origins((APP,)).check(origin)
