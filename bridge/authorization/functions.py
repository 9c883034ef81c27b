"""Functions that policies call, as ``bridge_catalog()`` answers them."""

from functools import cached_property

import msgspec

SESSION_PATH = ("public", "extensions")
"""Schemas in which a request's unqualified names are looked for, after pg_catalog."""


class Argument(msgspec.Struct, frozen=True):
    """A function's argument.

    ``mode`` is i (IN), o (OUT), b (INOUT), v (VARIADIC) or t (a column of RETURNS TABLE).
    """

    name: str | None
    type: str
    mode: str = "i"
    default: str | None = None


class Function(msgspec.Struct, frozen=True, dict=True):
    """A function that a policy may call; ``execute`` are the roles that may call it."""

    schema: str
    name: str
    returns: str
    returns_set: bool
    language: str
    strict: bool
    security_definer: bool
    owner: str
    source: str
    arguments: tuple[Argument, ...] = ()
    execute: tuple[str, ...] = ()
    sql_body: str | None = None
    config: tuple[str, ...] = ()

    @cached_property
    def qualified(self) -> str:
        """``schema.name``."""
        return f"{self.schema}.{self.name}"

    @cached_property
    def inputs(self) -> tuple[Argument, ...]:
        """The arguments that a call gives."""
        return tuple(argument for argument in self.arguments if argument.mode in ("i", "b", "v"))

    @cached_property
    def outputs(self) -> tuple[Argument, ...]:
        """The arguments that it gives back: OUT and INOUT ones, and the columns of RETURNS TABLE."""
        return tuple(argument for argument in self.arguments if argument.mode in ("o", "b", "t"))

    def accepts(self, count: int) -> bool:
        """True if it can be called with ``count`` arguments; VARIADIC is not supported."""
        required = [argument for argument in self.inputs if argument.default is None]
        variadic = any(argument.mode == "v" for argument in self.inputs)
        return len(required) <= count <= len(self.inputs) and not variadic

    @cached_property
    def settings(self) -> dict[str, str]:
        """What SET gives it, by name."""
        return dict(setting.partition("=")[::2] for setting in self.config)

    def search_path(self, outside: tuple[str, ...]) -> tuple[str, ...]:
        """Return the schemas in which names in its body are looked for; ``outside`` are the caller's."""
        value = self.settings.get("search_path")
        if value is None:
            return outside
        written = [part.strip().strip('"') for part in value.split(",")]
        return tuple(s for s in written if s and s not in ("$user", "pg_temp", "pg_catalog"))
