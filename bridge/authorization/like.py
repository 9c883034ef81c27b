"""``LIKE`` and ``ILIKE``, in a time that does not explode whatever the texts of users are."""

import re
from functools import lru_cache

from bridge.authorization.undecided import UndecidedError


def like(text: str, pattern: str) -> bool:
    """``text LIKE pattern``.

    What stands between two ``%`` has one length and is found from the left: the first place serves.
    """
    parts, lengths = _parts(pattern)
    if len(parts) == 1:
        return parts[0].fullmatch(text) is not None
    end = len(text) - lengths[-1]
    if end < lengths[0] or parts[0].match(text) is None or parts[-1].fullmatch(text, end) is None:
        return False
    position = lengths[0]
    for part in parts[1:-1]:
        found = part.search(text, position, end)
        if found is None:
            return False
        position = found.end()
    return True


def ilike(text: str, pattern: str) -> bool:
    """``text ILIKE pattern``."""
    if not (text.isascii() and pattern.isascii()):
        raise UndecidedError("upper and lower case of letters beyond ASCII depend on the locale")
    return like(text.lower(), pattern.lower())


@lru_cache(maxsize=1024)
def _parts(pattern: str) -> tuple[tuple[re.Pattern[str], ...], tuple[int, ...]]:
    """Return what stands between the ``%`` of ``pattern``, and the length of each."""
    parts: list[list[str]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            parts.append([])
        elif character == "_":
            parts[-1].append(".")
        elif character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                raise UndecidedError("a LIKE pattern ends with its escape character")
            parts[-1].append(re.escape(escaped))
        else:
            parts[-1].append(re.escape(character))
    return tuple(re.compile("".join(part), re.DOTALL) for part in parts), tuple(map(len, parts))
