"""Which pages may connect."""

from collections.abc import Sequence

from bridge.errors import ForbiddenError


class Origins:
    """The allowed origins.

    Args:
        allowed: Origins like ``https://app.example.com``; none, or ``*`` among them, allows every page.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self.allowed = tuple(origin.rstrip("/").lower() for origin in allowed)
        self.any = not allowed or "*" in allowed

    def check(self, origin: str | None) -> None:
        """Refuse an origin that is not allowed, a missing one too.

        Raises:
            ForbiddenError: it is not allowed.
        """
        if self.any or (origin is not None and origin.lower() in self.allowed):
            return
        if origin is None:
            raise ForbiddenError("no Origin header: only pages of the allowed origins may connect")
        raise ForbiddenError("this origin is not allowed: add it to BRIDGE_ALLOWED_ORIGINS")
