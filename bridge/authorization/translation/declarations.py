"""Makes a plpgsql body readable for a parser that knows no catalog.

libpg_query takes a type that it does not know for a row type, and does not tell which variable a plain
``RETURN variable`` returns.  So types in DECLARE are replaced by ones that it knows, and are remembered here.
"""

import re

import msgspec

from bridge.authorization.catalog import Catalog
from bridge.errors import CompileError

_FLAGS = re.IGNORECASE | re.DOTALL
_SKIPPED = r"(?P<skipped>'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/)"
_BEGIN = re.compile(rf"{_SKIPPED}|(?P<begin>\bbegin\b)", _FLAGS)
_DECLARE = re.compile(rf"{_SKIPPED}|(?P<declare>\bdeclare\b)", _FLAGS)
_RETURN = re.compile(rf"{_SKIPPED}|\breturn\s+(?P<variable>(?!next\b|query\b)[a-z_]\w*)\s*;", _FLAGS)
_DECLARATION = re.compile(
    rf"{_SKIPPED}|(?P<head>(?:^|;|\bdeclare\b)\s*(?P<name>(?!declare\b)[a-z_]\w*)\s+(?:constant\s+)?)"
    r"(?P<type>character\s+varying|[a-z_][\w.\"]*(?:\s*%\s*(?:row)?type)?)(?P<array>(?:\s*\[\s*\d*\s*\])*)(?P<length>\s*\((?P<n>\s*\d+\s*\))?)?",
    _FLAGS,
)
_KNOWN = frozenset(
    {
        "bigint",
        "bool",
        "boolean",
        "bpchar",
        "char",
        "character",
        "charactervarying",
        "date",
        "decimal",
        "double",
        "float",
    }
    | {"float4", "float8", "int", "int2", "int4", "int8", "integer", "interval", "json", "jsonb", "name"}
    | {"numeric", "real", "record", "smallint", "text", "time", "timestamp", "timestamptz", "uuid", "varchar"}
)


class Readable(msgspec.Struct, frozen=True):
    """A body that the parser reads, and the types that it was not shown, by variable."""

    source: str
    types: dict[str, str]


def readable(source: str, catalog: Catalog, path: tuple[str, ...]) -> Readable:
    """Return the body with its types replaced.

    Args:
        source: The function's body.
        catalog: Knows which types are rows of tables.
        path: Schemas in which unqualified names are looked for.

    Raises:
        CompileError: there is no BEGIN in it, or DECLARE after it, or a type with a length.
    """
    begin = next((match for match in _BEGIN.finditer(source) if match["begin"]), None)
    if begin is None:
        raise CompileError("the body has no BEGIN")
    hidden: dict[str, str] = {}

    def declaration(match: re.Match[str]) -> str:
        if match["skipped"]:
            return match[0]
        written = re.sub(r"\s|\"", "", match["type"])
        array = "[]" if match["array"] else ""
        if match["length"]:  # which may cut or round what is assigned, and which the parser does not tell
            is_array = array or match.string[match.end() :].lstrip().startswith("[")
            if written.lower() not in ("varchar", "charactervarying") or is_array or match["n"] is None:
                raise CompileError(f"the variable {match['name']} has a type with a length")
            hidden[match["name"].lower()] = f"varchar({match['n'].strip(') ')})"
            return f"{match['head']}text"
        if written.lower() in _KNOWN and not array:
            return match[0]
        if written.lower().endswith("%rowtype") or _is_row(written, catalog, path):
            return f"{match['head']}record"
        hidden[match["name"].lower()] = written + array
        return f"{match['head']}text{array}"

    def returned(match: re.Match[str]) -> str:
        return match[0] if match["skipped"] else f"return ({match['variable']});"

    head, rest = source[: begin.start()], source[begin.start() :]
    if any(match["declare"] for match in _DECLARE.finditer(rest)):
        raise CompileError("a block with variables of its own is not supported in memory")
    return Readable(_DECLARATION.sub(declaration, head) + _RETURN.sub(returned, rest), hidden)


def _is_row(written: str, catalog: Catalog, path: tuple[str, ...]) -> bool:
    names = [written] if "." in written else [f"{schema}.{written}" for schema in path]
    return any(name in catalog.by_name for name in names)
