"""What Postgres looks at when it is asked about a row, found out from the texts of policies and helpers.

An answer that comes of the row and the user alone is right whenever it is given.  One that reads tables is
about the moment of the question, and one that reads the row's own table, or rows that go with it, cannot
tell who saw the row before it was changed.  Whatever is not known counts as reading everything.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.functions import SESSION_PATH, Function
from bridge.authorization.translation.context import parse_expression, parse_statements, strings
from bridge.authorization.translation.plpgsql import parsed
from bridge.errors import CompileError
from bridge.events import Action

_READS_OTHERWISE = re.compile(r".*_to_xml.*|ts_stat|ts_rewrite|pg_logical_\w+|lo_\w+|pg_read_\w+|set_config")
"""Built-in functions that run the text of a query, read by other ways than one, or let others read."""

_BUILT_IN = re.compile(
    r"jsonb?_\w+|array_\w+|string_\w+|regexp_\w+|to_\w+|date_\w+|starts_with|current_setting|coalesce|nullif|now"
    r"|lower|upper|initcap|length|char_length|octet_length|[lrb]?trim|substring|substr|replace|concat|concat_ws"
    r"|split_part|strpos|left|right|lpad|rpad|reverse|repeat|format|md5|encode|decode|abs|ceil|floor|round|trunc|mod|sign"
    r"|count|sum|avg|min|max|bool_or|bool_and|every|unnest|cardinality|generate_series|row_number|rank|dense_rank"
    r"|first_value|last_value|row_to_json|extract|date_part|age|make_\w+|clock_timestamp|statement_timestamp"
    r"|transaction_timestamp|random|gen_random_uuid|greatest|least"
)
"""Built-in functions; where other schemas are searched, any other name may be an extension's function."""

_OTHERS = frozenset({"role", "session_authorization"})
"""Settings by which a function runs as somebody else."""

_ASSIGNMENT = re.compile(r"^[^:='\"]*:?=")


class Grounds(msgspec.Struct, frozen=True):
    """What answers about a table's rows depend on.

    Attributes:
        row_only: True if the answer comes of the row, the user and the time alone.
        hidden_by: Changes after which Postgres cannot tell any more who saw the row before.
    """

    row_only: bool
    hidden_by: frozenset[Action]


BY_ROW = Grounds(row_only=True, hidden_by=frozenset())


def grounds(catalog: Catalog, table: str, role: str) -> Grounds:
    """Return what Postgres goes by when it is asked which rows of ``table`` a role sees."""
    read = tables_read(catalog, catalog.by_name[table], role)
    if read is None or table in read:
        return Grounds(row_only=False, hidden_by=frozenset({"UPDATE", "DELETE"}))
    gone: frozenset[Action] = frozenset({"DELETE"} if read & _dependents(catalog, table) else ())
    return Grounds(row_only=not read, hidden_by=gone)


def tables_read(catalog: Catalog, table: Table, role: str) -> frozenset[str] | None:
    """Return the tables that the policies of ``table`` read for ``role``; None if it may be any."""
    roles = catalog.acting_roles(role)
    reader = _Reader(catalog, roles)
    try:
        for policy in table.policies:
            if policy.using and policy.command in ("SELECT", "ALL") and roles & set(policy.roles):
                reader.read(parse_expression(policy.using), (), SESSION_PATH)
    except CompileError:
        return None
    return frozenset(reader.tables)


def _dependents(catalog: Catalog, name: str) -> set[str]:
    """Return the tables whose rows may go when a row of table ``name`` does: a foreign key leads to it."""
    found = {name}
    while True:
        more = {
            table.qualified
            for table in catalog.tables
            for key in table.foreign_keys
            if f"{key.references.schema}.{key.references.name}" in found
        }
        if more <= found:
            return found
        found |= more


class _Reader:
    """Collects tables.  Raises CompileError where anything may be read.

    ``path`` are the schemas in which unqualified names are looked for besides pg_catalog; ``outside`` those
    that a function without a search_path of its own gets.  Policies of what is read count if they are for
    ``roles``; all do within a function that runs as somebody else.
    """

    def __init__(self, catalog: Catalog, roles: frozenset[str]) -> None:
        self.tables: set[str] = set()
        self._catalog = catalog
        self._roles: frozenset[str] | None = roles
        self._known: set[object] = set()
        self._named: set[str] = set()

    def read(self, node: Any, path: Sequence[str], outside: tuple[str, ...]) -> None:
        if isinstance(node, list):
            for item in node:
                self.read(item, path, outside)
        if not isinstance(node, dict):
            return
        # Before what refers to them; a table of that name counts as well.
        named = node.get("withClause", {}).get("ctes", ())
        self._named.update(each["CommonTableExpr"]["ctename"] for each in named)
        for kind, fields in node.items():
            match kind:
                case "RangeVar":
                    self._relation(fields, path, outside)
                case "FuncCall":
                    self._call(strings(fields["funcname"]), path, outside)
                case "A_Expr" if len(name := strings(fields["name"])) > 1:
                    self._check_schema(name)
                case "typeName":
                    self._type(strings(fields.get("names", [])), path)
                case "LockingClause":
                    raise CompileError("what is locked has to pass the policies of UPDATE, too")
                case _ if kind.endswith("Stmt") and kind != "SelectStmt":
                    raise CompileError(f"{kind} may run triggers")
            self.read(fields, path, outside)

    def _relation(self, fields: Any, path: Sequence[str], outside: tuple[str, ...]) -> None:
        name, schema = fields["relname"], fields.get("schemaname")
        if schema in ("pg_catalog", "information_schema"):
            return
        for where in [schema] if schema else path:
            table = self._catalog.table(where, name)
            if table is not None:
                self._table(table, outside)
                return
        if schema or (name not in self._named and not name.startswith("pg_")):
            raise CompileError(f"{name} is not known")

    def _table(self, table: Table, outside: tuple[str, ...]) -> None:
        if table.kind not in ("r", "p") or table.inherits:
            raise CompileError(f"{table.qualified} shows rows of other tables")
        identity = (table.qualified, outside, self._roles)
        if identity in self._known:
            return
        self._known.add(identity)
        self.tables.add(table.qualified)
        for policy in table.policies if table.rls else ():
            counts = self._roles is None or not self._roles.isdisjoint(policy.roles)
            if counts and policy.using and policy.command in ("SELECT", "ALL"):
                self.read(parse_expression(policy.using), (), outside)

    def _call(self, written: Sequence[str], path: Sequence[str], outside: tuple[str, ...]) -> None:
        *schema, name = written
        # Before those that somebody made: without a schema it is pg_catalog's, if the arguments fit.
        if schema in ([], ["pg_catalog"]) and _READS_OTHERWISE.fullmatch(name):
            raise CompileError(f"function {name}() may have anything read")
        if schema != ["pg_catalog"]:
            known = [
                function
                for where in schema or path
                for function in self._catalog.functions_by_name.get(f"{where}.{name}", ())
            ]
            for function in known:
                self._body(function, outside)
            if known:
                return
            if schema or (path and not _BUILT_IN.fullmatch(name)):
                raise CompileError(f"function {'.'.join(written)}() is not known")

    def _body(self, function: Function, outside: tuple[str, ...]) -> None:
        path = function.search_path(outside)
        caller = self._roles
        if function.security_definer or not _OTHERS.isdisjoint(function.settings):
            self._roles = None
        identity = (function.qualified, function.arguments, path, self._roles)
        if identity not in self._known:
            self._known.add(identity)
            self._statements(function, path)
        self._roles = caller

    def _statements(self, function: Function, path: tuple[str, ...]) -> None:
        if function.language == "plpgsql":
            self._plpgsql(parsed(function, self._catalog, path)[0], path)
        elif function.sql_body is None:
            self.read(parse_statements(function.source), path, path)
        else:
            body = function.sql_body.strip()
            text = body.removeprefix("BEGIN ATOMIC").removesuffix("END")
            self.read(parse_statements(re.sub("^RETURN ", "SELECT ", text)), (), path)

    def _plpgsql(self, node: Any, path: tuple[str, ...]) -> None:
        if isinstance(node, list):
            for item in node:
                self._plpgsql(item, path)
        if not isinstance(node, dict):
            return
        for kind, fields in node.items():
            if kind == "dynquery" or kind.startswith("PLpgSQL_stmt_dyn"):
                raise CompileError("a query is put together at run time")
            if kind == "PLpgSQL_expr":
                self.read(_statements(fields), path, path)
            else:
                self._plpgsql(fields, path)

    def _type(self, written: Sequence[str], path: Sequence[str]) -> None:
        if len(written) > 1:
            if ".".join(written) not in self._catalog.enums:
                self._check_schema(written)
        elif any(t.kind == "d" and t.name in written and t.schema in path for t in self._catalog.types):
            raise CompileError(f"{written[0]} is a domain, whose CHECK may call functions")

    @staticmethod
    def _check_schema(written: Sequence[str]) -> None:
        """Refuse an operator or type that somebody made: a function is behind it."""
        if written[0] not in ("pg_catalog", "extensions"):
            raise CompileError(f"{'.'.join(written)} is not known")


def _statements(fields: Any) -> Any:
    """Return the statements that an expression of plpgsql is: a value, too, may have FROM and WHERE."""
    text: str = fields["query"]
    match fields.get("parseMode", 0):
        case 0:
            return parse_statements(text)
        case 2:
            return parse_statements(f"SELECT {text}")
        case _:
            return parse_statements(f"SELECT {_ASSIGNMENT.sub('', text, count=1)}")
