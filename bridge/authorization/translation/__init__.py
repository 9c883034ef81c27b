"""From the SQL of policies and functions to the algebra."""

from bridge.authorization.translation.context import Context
from bridge.authorization.translation.translator import Translator

__all__ = ["Context", "Translator"]
