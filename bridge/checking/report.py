"""What a check has found: values, as lines and as JSON.  Nothing in them is secret, or from a row."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

Status: TypeAlias = Literal["ok", "warning", "fail", "not_checked"]

Where: TypeAlias = Literal["", "sql", "shell", "nginx"]
"""Where a fix is pasted: psql or the SQL editor, a shell, nginx's configuration; nowhere if it is advice."""


SEE_CAPTURE = "see capture, above: with the journal this is mended as well"
"""The fix of what follows from a journal that lacks tables: the statement is long, and printed once."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One finding.

    Attributes:
        check: What was looked at, a stable word.
        subject: Of what: a table, a setting; empty where there is one only.
        status: ``fail``: events do not arrive, or the worker does not start.  ``warning``: they do, but see
            to it.  ``not_checked``: what it takes to know is missing, and ``says`` what.
        says: What is so.
        fix: What mends it; empty where nothing has to be.
        paste: Where to.
    """

    check: str
    subject: str = ""
    status: Status
    says: str
    fix: str = ""
    paste: Where = ""


def ok(check: str, says: str, subject: str = "") -> Check:
    """Return that all is well."""
    return Check(check=check, subject=subject, status="ok", says=says)


def unchecked(check: str, says: str, subject: str = "") -> Check:
    """Return that it is not known, and why."""
    return Check(check=check, subject=subject, status="not_checked", says=says)


def bad(
    check: str, says: str, fix: str, paste: Where = "", *, subject: str = "", status: Status = "fail"
) -> Check:
    """Return that something has to be mended, and how."""
    return Check(check=check, subject=subject, status=status, says=says, fix=fix, paste=paste)


def told(check: str, message: str, *, subject: str = "", status: Status = "fail") -> Check:
    """Return a finding from a message of ours: what is so, a colon, what to do."""
    says, fix = divided(message)
    return bad(check, says, fix, pasted(fix), subject=subject, status=status)


def divided(message: str) -> tuple[str, str]:
    """Return what a message of ours says is so, and what to do."""
    says, _, fix = message.rpartition(": ")
    return (says, fix) if says else (message, "see docs/errors.md")


def pasted(fix: str) -> Where:
    """Return where a fix goes: a whole SQL statement or command, or nowhere."""
    if (
        re.match(r"(select public\.bridge_|alter (table|publication|role) |create publication |grant )", fix)
        and ", and " not in fix
    ):
        return "sql"
    return "shell" if fix.startswith(("bridge ", "export ")) else ""


def failed(checks: Iterable[Check]) -> bool:
    """Return whether anything keeps events from arriving."""
    return any(check.status == "fail" for check in checks)


def lines(checks: Sequence[Check]) -> list[str]:
    """Return the findings for people: one line each, and the fix on lines of its own, to paste."""
    shown = []
    width = max((len(_name(check)) for check in checks), default=0)
    for check in _joined(checks):
        status = check.status.replace("_", " ")
        shown.append(f"{status:<11}  {_name(check):<{width}}  {check.says}")
        if check.fix:
            label = f"fix ({check.paste})" if check.paste else "fix"
            indent = " " * 13
            shown += [f"{indent}{label}: {check.fix}".replace("\n", f"\n{indent}")]
    counts = {status: sum(check.status == status for check in checks) for status in ("fail", "warning")}
    unknown = sum(check.status == "not_checked" for check in checks)
    shown.append(
        f"{len(checks)} checks: {counts['fail']} failed, {counts['warning']} warnings, {unknown} not checked"
    )
    return shown


def as_json(checks: Sequence[Check]) -> str:
    """Return the findings as a JSON list of objects, each with all fields."""
    found: list[dict[str, Any]] = [msgspec.structs.asdict(check) for check in checks]
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def _joined(checks: Sequence[Check]) -> Iterator[Check]:
    """Yield the findings, those in a row that one reason kept from being checked as one."""
    for _, group in itertools.groupby(
        checks, key=lambda c: (c.status, c.says if c.status == "not_checked" else c)
    ):
        first, *others = group
        if others:
            names = ", ".join(_name(check) for check in (first, *others))
            first = msgspec.structs.replace(first, check="...", subject="", says=f"{names}: {first.says}")
        yield first


def _name(check: Check) -> str:
    return f"{check.check} {check.subject}".strip()
