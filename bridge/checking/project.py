"""Asks the project over HTTP: is it there, what does its clock say, what does it answer to the key."""

import datetime as dt
import shlex
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx
import jwt
import msgspec

from bridge.checking.keys import project_ref, refused_fix
from bridge.checking.report import Check, Status, bad, ok, told, unchecked
from bridge.config import Config
from bridge.connection.jwks import fetch_keys
from bridge.errors import RpcError, SourceError
from bridge.minting import SERVICE_ROLE, WORKER_ROLE, key_role

TIMEOUT_S = 10.0

LATE_S = 5.0
"""From here clocks differ by more than a second's rounding and an answer's way."""

FAR_S = 60.0
"""From here tokens that were just issued are not valid yet, or expire at once."""

_GATEWAY = frozenset({"401", "403"})
_REFUSED = _GATEWAY | {"PGRST301", "PGRST302", "PGRST303"}

_GRANT = (
    "grant execute on function public.bridge_catalog(), public.bridge_catalog_marker(),\n"
    "    public.bridge_relation(text), public.bridge_key(regclass), public.bridge_row(text, jsonb),\n"
    "    public.bridge_rows(text, jsonb, integer, text[]) to service_role;"
)
_NO_FUNCTION = frozenset({"PGRST202", "42883"})


class Reached(msgspec.Struct, frozen=True):
    """What came back from ``SUPABASE_URL``.

    Attributes:
        error: Why nothing of a project's did; empty if something did.
        date: The header ``Date``.
        moved: The base URL that it sends us to.
    """

    error: str = ""
    date: str = ""
    moved: str = ""


async def reach(http: httpx.AsyncClient, url: str) -> Reached:
    """Ask for the start page of the REST API, without a key."""
    try:
        answer = await http.head(f"{url.rstrip('/')}/rest/v1/")
    except httpx.TimeoutException:
        return Reached(error=f"no answer within {TIMEOUT_S:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Reached(error=str(error)[:200] or type(error).__name__)
    if answer.has_redirect_location:
        to = httpx.URL(url).join(answer.headers["location"])
        moved = f"{to.scheme}://{to.netloc.decode()}"
        return Reached(error=f"it sends us to {moved}", moved=moved)
    if answer.status_code >= 500:  # noqa: PLR2004 - hosted projects that are paused answer 540
        return Reached(
            error=f"HTTP {answer.status_code}: it is paused, starting, or has lost what is behind it"
        )
    if answer.is_success and answer.headers.get("content-type", "").startswith("text/html"):
        return Reached(error="a web page is there, and no API of a project")
    return Reached(date=answer.headers.get("date", ""))


def check_url(config: Config, reached: Reached) -> Check:
    """Judge the base URL."""
    if not reached.error:
        return ok("url", "SUPABASE_URL answers")
    if reached.moved:
        fix = f"export SUPABASE_URL={shlex.quote(reached.moved)}"
        says = f"what answers at SUPABASE_URL sends everybody to {reached.moved}: the worker does not follow"
        return bad("url", says, fix, "shell")
    ref = project_ref(config.supabase_url)
    hosted = f"export SUPABASE_URL=https://<ref>.supabase.co   # is {ref} right, and the project not paused?"
    local = "export SUPABASE_URL=http://...   # where your stack listens; or start it"
    return bad("url", f"SUPABASE_URL does not answer ({reached.error})", hosted if ref else local, "shell")


def check_clock(name: str, theirs: dt.datetime | None, now: dt.datetime) -> Check:
    """Compare another clock with ours; ``theirs`` is None where it was not told."""
    if theirs is None:
        return unchecked("clock", "it tells no time", name)
    off_s = (now - theirs).total_seconds()
    if abs(off_s) < LATE_S:
        return ok("clock", "the clocks agree", name)
    says = (
        f"this machine is {abs(off_s):.0f} s {'ahead' if off_s > 0 else 'behind'}: tokens "
        f"{'expire too early' if off_s > 0 else 'are not valid yet, or live too long'}"
    )
    status: Status = "fail" if abs(off_s) >= FAR_S else "warning"
    return bad("clock", says, "sudo timedatectl set-ntp true", "shell", subject=name, status=status)


def http_date(text: str) -> dt.datetime | None:
    """Return the time of a header ``Date``; None if it is none."""
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)


async def check_jwks(http: httpx.AsyncClient, config: Config) -> Check:
    """Judge the public keys, which tokens of projects with signing keys are verified by."""
    try:
        keys = await fetch_keys(http, config.supabase_url)
    except jwt.PyJWKSetError:
        keys = {}
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        says = f"the public keys cannot be read ({type(error).__name__})"
        fix = 'curl -i "$SUPABASE_URL/auth/v1/.well-known/jwks.json"   # does Auth run?'
        status: Status = "fail" if config.jwt_secret is None else "warning"
        return bad("jwks", says, fix, "shell", status=status)
    if keys:
        return ok("jwks", f"{len(keys)} public keys")
    if config.jwt_secret is not None:
        return ok("jwks", "there are no public keys, and tokens are verified by the secret")
    ref = project_ref(config.supabase_url)
    where = (
        f"https://supabase.com/dashboard/project/{ref}/settings/jwt"
        if ref
        else "JWT_SECRET of your stack's .env"
    )
    says = "the project has no public keys: it signs with its JWT secret, so no token can be verified without"
    return bad("jwks", says, f"export SUPABASE_JWT_SECRET=...   # {where}", "shell")


def check_answer(config: Config, error: SourceError | None, missing_fix: Callable[[str], str]) -> Check:
    """Judge what ``bridge_catalog()`` answered to the key; ``missing_fix`` tells what migrates."""
    if error is None:
        return ok("functions", "the bridge's functions answer to the key")
    if not isinstance(error, RpcError):
        return told("functions", str(error))
    says = str(error).rpartition(": ")[0]
    key = refused_fix(config, by_gateway=error.answer in _GATEWAY)
    role = key_role(config.service_role_key)
    if error.answer in _REFUSED:
        return bad("functions", f"the project refuses the key ({says})", key, "shell")
    if error.answer in _NO_FUNCTION:
        return bad(
            "functions",
            f"the bridge's functions are missing ({says})",
            missing_fix("bridge_functions"),
            "shell",
        )
    if error.answer in ("42501", "22023") and role == WORKER_ROLE:
        says = f"there is no role {role}, or it may not call them ({says})"
        return bad("functions", says, missing_fix("worker_role"), "shell")
    if error.answer == "42501" and role == SERVICE_ROLE:
        return bad("functions", f"service_role may not call them ({says})", _GRANT, "sql")
    if error.answer == "42501":
        return bad("functions", f"the key is no service key ({says})", key, "shell")
    if error.answer == "404":
        fix = "export SUPABASE_URL=https://<ref>.supabase.co   # the base URL of the project"
        return bad("functions", "what answers at SUPABASE_URL is no Supabase project", fix, "shell")
    return told("functions", str(error))
