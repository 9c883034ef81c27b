"""SQL files as statements, divided as the Supabase CLI divides them for its record."""

import re
from collections.abc import Iterator, Sequence

_TOKEN = re.compile(
    r"--[^\n]*"
    r"|'(?:[^']|'')*'"
    r'|"(?:[^"]|"")*"'
    r"|(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)"
    r"|/\*|\(|\)|;",
    re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def split(text: str) -> list[str]:
    """Return the statements of ``text``, without the semicolons, each with the comments before it.

    Semicolons in comments, strings, names, dollar quotes and parentheses end no statement.
    """
    statements = (part.rstrip(";").strip() for part in _parts(text))
    return [statement for statement in statements if statement]


def _parts(text: str) -> Iterator[str]:
    start = position = depth = 0
    while (token := _TOKEN.search(text, position)) is not None:
        position = token.end()
        match token[0]:
            case "/*":
                position = _comment_end(text, position)
            case "(":
                depth += 1
            case ")":
                depth = max(0, depth - 1)
            case ";" if depth == 0:
                yield text[start:position]
                start = position
    yield text[start:]


def _comment_end(text: str, position: int) -> int:
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(text, position)
        if edge is None:
            return len(text)
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position


def body(statements: Sequence[str]) -> list[str]:
    """Return the statements between a first ``begin`` and a last ``commit``: whoever runs them, commits."""
    bare = [_COMMENTS.sub("", statement).strip().lower() for statement in statements]
    inner = list(statements)
    if bare and bare[-1] == "commit":
        inner.pop()
    if bare and bare[0] == "begin":
        inner.pop(0)
    return inner


def canonical(statements: Sequence[str]) -> str:
    """Return a form that is equal for the same SQL, however it was divided."""
    return re.sub(r"\s*;[\s;]*", ";", ";".join(statements).strip()).strip("; \n")
