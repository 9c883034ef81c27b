"""What an evaluation raises where memory cannot tell the answer, so that Postgres has to be asked."""

from typing import Self

from bridge.errors import BridgeError


class UndecidedError(BridgeError):
    """Only Postgres can answer this for this user and row.

    Attributes:
        raises: True if Postgres may answer with an error, so that later branches of an OR do not count.
        untrue: True if the condition is not true at any rate: it is false, or NULL, or an error.
    """

    code = "undecided"

    def __init__(self, reason: str, *, raises: bool = True, untrue: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.raises = raises
        self.untrue = untrue

    @classmethod
    def of_all(cls, errors: "list[UndecidedError]", *, untrue: bool = False) -> Self:
        """Return what is known of an AND with these parts; ``untrue`` if another one is not true."""
        return cls(
            errors[0].reason,
            raises=any(error.raises for error in errors),
            untrue=untrue or any(error.untrue for error in errors),
        )

    @classmethod
    def of_any(cls, errors: "list[UndecidedError]") -> Self:
        """Return what is known of an OR with these parts, of which no other is true."""
        return cls(
            errors[0].reason,
            raises=any(error.raises for error in errors),
            untrue=all(error.untrue for error in errors),
        )

    def as_value(self) -> "UndecidedError":
        """Return the same of an expression in which false, NULL and an error are not one."""
        return UndecidedError(self.reason, raises=self.raises) if self.untrue else self
