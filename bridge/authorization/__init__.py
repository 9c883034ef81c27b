"""Who may see a row change: the database's own SELECT policies, compiled and answered from memory.

In: :class:`~bridge.events.Change` values in commit order.  Out: who experiences each of them, and
as what (:class:`Deliver`), and who has to read again (:class:`Resync`).

``loader`` reads catalog and look-up rows; ``composition`` turns grants and policies into one
condition (``translation``: from SQL to the ``algebra``; ``normalization``); ``planset`` and ``plan``
compile it in both directions (``evaluation``: does this user see this row; ``audience``, of ``finders``:
which users see it; ``sightings``: who was found to); ``authorizer`` applies changes (``rows``; ``sharing``:
who experiences that of a row; ``shifting``, ``effects``: whose sight of others that of a look-up row shifts;
``experience``, ``settling``), and asks Postgres what memory cannot tell (``asking``; ``grounds``: what its
answers depend on; ``pace``).  The stage does no I/O but through its database, and owns no task.
"""

from bridge.authorization.asking import Database
from bridge.authorization.authorizer import Authorizer
from bridge.authorization.capturing import Capture, chosen, journal_advice
from bridge.authorization.experience import Deliver, Effect, Resync, Shifted
from bridge.authorization.finders import Users
from bridge.authorization.loader import Settings, compile_catalog, load
from bridge.authorization.pace import Pace
from bridge.authorization.planset import PlanSet
from bridge.authorization.roster import Roster
from bridge.authorization.rows import CatalogChangedError
from bridge.authorization.settling import Pending

__all__ = [
    "Authorizer",
    "Capture",
    "CatalogChangedError",
    "Database",
    "Deliver",
    "Effect",
    "Pace",
    "Pending",
    "PlanSet",
    "Resync",
    "Roster",
    "Settings",
    "Shifted",
    "Users",
    "chosen",
    "compile_catalog",
    "journal_advice",
    "load",
]
