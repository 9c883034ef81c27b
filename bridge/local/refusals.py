"""Why Realtime does not let somebody listen, in its words."""

from collections.abc import Sequence

import psycopg

from bridge.local.feed import Feed
from bridge.local.subscriptions import Binding


async def refusal(feed: Feed, role: str, bindings: Sequence[Binding]) -> str | None:
    """Return why ``role`` cannot have the bindings; None if it can.

    Raises:
        psycopg.OperationalError: the database went away.
    """
    for binding in bindings:
        try:
            missing = await feed.check(role, [(binding.schema, binding.table or "*")])
            for f in binding.filters:
                await feed.check_value(binding.schema, binding.table or "", f.column, f.value)
        except psycopg.OperationalError:
            raise
        except LookupError as error:
            return _exception(binding, f"ERROR P0001 (raise_exception) {error}")
        except psycopg.Error as error:
            state, condition = error.sqlstate, _snake(type(error).__name__)
            if state == "22023":  # of SET ROLE, where the real one finds no such role
                state, condition = "42704", "undefined_object"
            return _exception(binding, f"ERROR {state} ({condition}) {error.diag.message_primary}")
        if missing:
            return f"Please check Realtime is enabled for the given connect parameters: {binding.described()}"
    return None


def _exception(binding: Binding, text: str) -> str:
    parameters = f"please check your connect parameters: {binding.described()}"
    return f"An exception happened so {parameters}. Exception: {text}"


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
