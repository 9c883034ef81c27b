"""Names as SQL reads and writes them: as they are in quotes, in lower case without."""

import re

_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\s".,]+))\s*(?:(\.)|$)')
_FREE = (0, 1)
"""Kinds of words that stand for themselves as a name: no keyword, or one that is not reserved anywhere."""
_BARE = re.compile("[a-z_][a-z0-9_]*")
_LISTED = re.compile(r'((?:"(?:[^"]|"")*"|[^",])+)(?:,|$)')


def identifiers(text: str) -> tuple[tuple[str, bool], ...]:
    """Return the parts of a qualified name, each with whether it was in quotes; none if it is no name."""
    parts: list[tuple[str, bool]] = []
    position, more = 0, True
    while more:
        found = _PART.match(text, position)
        if found is None:
            return ()
        quoted, bare, dot = found.groups()
        parts.append((bare, False) if quoted is None else (quoted.replace('""', '"'), True))
        position, more = found.end(), dot is not None
    return tuple(parts)


def plain(text: str) -> tuple[str, ...]:
    """Return the parts of a qualified name in their own case, whatever stands in quotes."""
    return tuple(name for name, _ in identifiers(text))


def folded(text: str) -> tuple[str, ...]:
    """Return the parts of a qualified name as Postgres understands them.

    Source: ``SplitIdentifierString``, which folds nothing but ASCII in a database of UTF-8.
    """
    return tuple(name if quoted else _lower(name) for name, quoted in identifiers(text))


def split_names(text: str) -> tuple[str, ...]:
    """Return the names of a list with commas, which may stand in quotes as well."""
    if text.count('"') % 2:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return tuple(part.strip() for part in _LISTED.findall(text) if part.strip())


def in_quotes(name: str) -> str:
    """Return a name in quotes, always: it may be a word of SQL."""
    return '"' + name.replace('"', '""') + '"'


def quoted(name: str) -> str:
    """Return a name as people write it: in quotes where Postgres's ``quote_ident()`` puts it into some."""
    import postgast  # noqa: PLC0415 - a fifth of a second, for who only reads names

    is_free = _BARE.fullmatch(name) and postgast.scan(name).tokens[0].keyword_kind in _FREE
    return name if is_free else in_quotes(name)


def literal(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _lower(name: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)
