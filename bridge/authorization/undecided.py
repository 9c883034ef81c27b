"""What an evaluation raises where memory cannot tell the answer, so that Postgres has to be asked."""

from bridge.errors import BridgeError


class UndecidedError(BridgeError):
    """Only Postgres can answer this for this user and row.

    Attributes:
        raises: True if Postgres may answer with an error, so that later branches of an OR do not count.
    """

    code = "undecided"

    def __init__(self, reason: str, *, raises: bool = True) -> None:
        super().__init__(reason)
        self.raises = raises
