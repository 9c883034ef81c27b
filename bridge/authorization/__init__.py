"""Who may see a row change: the database's own SELECT policies, compiled and answered from memory.

In: :class:`~bridge.events.Change` values in commit order.  Out: who experiences each of them, and
as what (:class:`Deliver`), and who has to read again (:class:`Resync`).

``loader`` reads catalog and look-up rows; ``composition`` turns grants and policies into one
condition (``parser``, ``algebra``, ``types``); ``planset`` and ``plan`` compile it in both
directions (``evaluation``: does this user see this row; ``audience``: which users see it);
``authorizer`` applies changes (``rows``, ``effects``, ``shaping``).  Only ``loader`` does I/O;
the stage owns no task.
"""

from bridge.authorization.authorizer import Authorizer, Deliver, Effect, Resync
from bridge.authorization.loader import Settings, compile_catalog, load
from bridge.authorization.planset import PlanSet
from bridge.authorization.roster import Roster
from bridge.authorization.rows import CatalogChangedError

__all__ = [
    "Authorizer",
    "CatalogChangedError",
    "Deliver",
    "Effect",
    "PlanSet",
    "Resync",
    "Roster",
    "Settings",
    "compile_catalog",
    "load",
]
