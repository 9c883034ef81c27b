"""Tells of what is not translated whether Postgres may fail in it: if not, what stands beside it counts.

Only forms of which it is certain are known here; whatever else there is may fail.
"""

import re
from collections.abc import Iterator
from typing import Any

from bridge.authorization.catalog import Catalog, Table
from bridge.authorization.translation.context import Node, open_node, parse_expression, strings
from bridge.authorization.translation.names import Names
from bridge.errors import CompileError

_COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_JSON = frozenset({"->", "->>", "#>", "#>>", "?"})
_PATTERNS = frozenset({"~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*"})
_VALID_PATTERN = re.compile(r"\^?(?:[\w@%#/:;,<>=!&~' -]|\.[*+?]?|\\[.@/-])*\$?", re.ASCII)
"""Regular expressions that Postgres is certain to accept, and that LIKE accepts as well."""

_FUNCTIONS = frozenset(
    {"auth.uid", "auth.role", "auth.email", "auth.jwt", "now", "lower", "upper", "btrim", "length"}
)


def cannot_fail(node: Node, names: Names) -> bool:
    """True if Postgres answers ``node`` with a value, whatever the row and the user are."""
    kind, fields = open_node(node)
    match kind:
        case "A_Const" | "SQLValueFunction":
            return True
        case "ColumnRef":
            return _is_plain(fields, names)
        case "BoolExpr" | "CoalesceExpr":
            return _none_fails(fields["args"], names)
        case "NullTest" if "ColumnRef" in fields["arg"]:
            return True
        case "NullTest" | "BooleanTest" | "CollateClause":
            return cannot_fail(fields["arg"], names)
        case "TypeCast":
            # A constant was a value of its type when the policy was made.
            return "A_Const" in fields["arg"] or (
                strings(fields["typeName"]["names"])[-1] == "text"
                and not fields["typeName"].get("arrayBounds")
                and cannot_fail(fields["arg"], names)
            )
        case "CaseExpr":
            arms = [arm["CaseWhen"] for arm in fields["args"]]
            parts = [arm[part] for arm in arms for part in ("expr", "result")]
            parts += [fields[part] for part in ("arg", "defresult") if part in fields]
            return _none_fails(parts, names)
        case "A_Expr":
            return _operator(fields, names)
        case "A_ArrayExpr":
            return _none_fails(fields.get("elements", []), names)
        case "List":
            return _none_fails(fields["items"], names)
        case "FuncCall":
            known = ".".join(strings(fields["funcname"])).removeprefix("pg_catalog.") in _FUNCTIONS
            return known and _none_fails(fields.get("args", []), names)
        case _:
            return False


def fails_in_planning(node: Node, names: Names, catalog: Catalog) -> bool:
    """True if Postgres may fail in ``node`` before it looks at any row, whatever stands before ``node``.

    What a view reads, and for whom, is not known here: a privilege may be missing, or the circle be closed.
    So it is with a function whose rows Postgres may take from its text, put in place of the call.
    And to estimate how many rows a comparison with a column selects, Postgres computes the other side, where
    that needs no row: ``current_setting('app.tenant')`` fails every SELECT where nobody has set it.
    Source: ``get_restriction_variable`` in ``utils/adt/selfuncs.c``.
    """
    return any(
        _reads_unknown(part, catalog) or any(_estimated(inner, names) for inner in _walk(part))
        for part in _with_policies(node, names.acting, catalog)
    )


def _with_policies(node: Node, acting: str, catalog: Catalog) -> Iterator[Node]:
    """Yield ``node`` and the policies that count in it for ``acting``, and in these."""
    parts, known, roles = [node], set[str](), catalog.acting_roles(acting)
    while parts:
        part = parts.pop()
        yield part
        for table in _tables(part, catalog):
            if table is None or table.qualified in known or catalog.bypasses_rls(acting, table):
                continue
            known.add(table.qualified)
            counting = (policy for policy in table.policies if policy.using and roles & set(policy.roles))
            parts += [parse_expression(policy.using or "") for policy in counting if table.rls]


def _tables(node: Node, catalog: Catalog) -> list[Table | None]:
    """Return what the subqueries in ``node`` read, None for what is not known; WITH names nothing new."""
    found = [
        inner[kind] for inner in _walk(node) for kind in ("RangeVar", "CommonTableExpr") if kind in inner
    ]
    named = {fields["ctename"] for fields in found if "ctename" in fields}
    read = [fields for fields in found if "relname" in fields]
    return [
        catalog.table(fields.get("schemaname", ""), fields["relname"])
        for fields in read
        if "schemaname" in fields or fields["relname"] not in named
    ]


def _reads_unknown(node: Node, catalog: Catalog) -> bool:
    called = [
        inner["FuncCall"]
        for part in _walk(node)
        if "RangeFunction" in part
        for inner in _walk(part)
        if "FuncCall" in inner
    ]
    return any(table is None or table.kind == "v" for table in _tables(node, catalog)) or any(
        function.returns_set and function.language == "sql" and not function.security_definer
        for call in called
        for function in catalog.functions_by_name.get(".".join(strings(call["funcname"])), ())
    )


def _estimated(node: Node, names: Names) -> bool:
    return "A_Expr" in node and any(
        not _kinds(side).intersection(("ColumnRef", "SubLink"))
        and "FuncCall" in _kinds(side)
        and not cannot_fail(side, names)
        for side in (node["A_Expr"].get("lexpr"), node["A_Expr"].get("rexpr"))
        if side is not None
    )


def _walk(node: Any) -> Iterator[Node]:
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walk(inner)


def _kinds(node: Node) -> set[str]:
    return {kind for inner in _walk(node) for kind in inner}


def _none_fails(nodes: list[Node], names: Names) -> bool:
    return all(cannot_fail(node, names) for node in nodes)


def _is_plain(fields: Node, names: Names) -> bool:
    """True for a column whose values can be compared: of no row type, and no array of an unknown type."""
    parts = [part.get("String", {}).get("sval") for part in fields["fields"]]
    if None in parts:
        return False
    try:
        type_ = names.find(parts).type
    except CompileError:
        return False
    return not type_.startswith(("other:row ", "other:pg_catalog._"))


def _operator(fields: Node, names: Names) -> bool:
    name = ".".join(strings(fields["name"])).removeprefix("pg_catalog.")
    if "lexpr" not in fields:
        return False
    sides = [fields["lexpr"], fields["rexpr"]]
    if name in _PATTERNS and fields["kind"] in ("AEXPR_OP", "AEXPR_LIKE", "AEXPR_ILIKE"):
        pattern = _constant(sides[1])
        valid = pattern is not None and _VALID_PATTERN.fullmatch(pattern) is not None
        return valid and cannot_fail(sides[0], names)
    known = name in _COMPARISONS or fields["kind"] in ("AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN")
    return (known or (name in _JSON and fields["kind"] == "AEXPR_OP")) and _none_fails(sides, names)


def _constant(node: Node) -> str | None:
    kind, fields = open_node(node)
    if kind == "TypeCast":
        return _constant(fields["arg"])
    if kind == "A_Const" and "sval" in fields:
        return str(fields["sval"].get("sval", ""))
    return None
