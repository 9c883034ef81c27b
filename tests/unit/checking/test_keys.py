"""A key says which project it is of; it is judged, and never quoted."""

import pytest

from bridge.checking.keys import check_key, check_secret, project_ref, refused_fix
from bridge.clock import ManualClock
from bridge.config import Config
from bridge.minting import mint_token

NOW = ManualClock().now()
SECRET = "a secret of the project, of 32 bytes or more"
REF = "abcdefghijklmnopqrst"


def key(role: str, **claims: object) -> str:
    return mint_token(SECRET, user_id=None, role=role, ttl_s=3600, now=NOW, **claims)


def config(key: str, url: str = f"https://{REF}.supabase.co", secret: str | None = None) -> Config:
    return Config(supabase_url=url, service_role_key=key, jwt_secret=secret)


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        (key("service_role", ref=REF), "ok", "service_role, which may do everything: `bridge token --role"),
        (key("bridge_worker"), "ok", "bridge_worker, which reads what is relayed and does nothing else"),
        (key("relay"), "ok", "a key for role relay"),
        ("sb_secret_xyz", "ok", "a secret key, which is service_role's and may do everything"),
        ("sb_publishable_xyz", "fail", "the publishable key"),
        (key("anon", ref=REF), "fail", "the anon key"),
        (key("authenticated"), "fail", "the token of a user"),
        (key("service_role", ref="zyxwvutsrqponmlkjihg"), "fail", "of project zyxwvutsrqponmlkjihg"),
        (key("service_role", exp=1), "fail", "expired"),
        ("opaque", "warning", "neither"),
        ("sb_secret_x\nyz", "fail", "a line's end"),
    ],
)
def test_a_key_is_judged_by_what_it_says(given: str, status: str, says: str) -> None:
    """Kind, role, project and expiry; the fix leads to the project's own page."""
    found = check_key(config(given), NOW)
    assert (found.status, says in found.says) == (status, True), found
    assert given not in f"{found.says}{found.fix}"
    if status != "ok":
        assert f"dashboard/project/{REF}/settings/api-keys" in found.fix


def test_the_other_project_can_be_the_right_one() -> None:
    """Key and URL differ: either may be wrong."""
    found = check_key(config(key("service_role", ref="other")), NOW)
    assert "export SUPABASE_URL=https://other.supabase.co" in found.fix


def test_a_project_elsewhere_has_no_ref() -> None:
    """Only hosted ones are named by their host."""
    assert project_ref(f"https://{REF}.supabase.co/") == REF
    assert project_ref("http://127.0.0.1:8000") is None
    assert check_key(config(key("service_role", ref=REF), url="http://localhost:8000"), NOW).status == "ok"


@pytest.mark.parametrize(
    ("given", "secret", "status"),
    [
        (key("service_role"), SECRET, "ok"),
        (key("service_role"), "another " + SECRET, "fail"),
        (key("service_role"), None, "ok"),
        ("sb_secret_xyz", SECRET, "not_checked"),
        ("sb_secret_xyz", "short", "warning"),
    ],
)
def test_the_secret_is_tried_on_the_key(given: str, secret: str | None, status: str) -> None:
    """The legacy key is a token like those of users."""
    found = check_secret(config(given, secret=secret))
    assert found.status == status
    assert secret is None or secret not in f"{found.says}{found.fix}"


@pytest.mark.parametrize(
    ("given", "by_gateway", "fix"),
    [
        (key("service_role"), True, "SUPABASE_SERVICE_ROLE_KEY=..."),
        (key("bridge_worker"), True, "SUPABASE_ANON_KEY=..."),
        (key("bridge_worker"), False, 'SUPABASE_SERVICE_ROLE_KEY="$(bridge token --role bridge_worker)"'),
    ],
)
def test_what_a_gateway_refuses_may_be_a_key_that_only_the_project_knows(
    given: str,
    by_gateway: bool,  # noqa: FBT001 - a parameter of the test
    fix: str,
) -> None:
    """Gateways take the keys that they were told; that of bridge_worker is told to nobody."""
    for url in ("http://127.0.0.1:8000", f"https://{REF}.supabase.co"):
        found = refused_fix(Config(supabase_url=url, service_role_key=given), by_gateway=by_gateway)
        assert found.startswith(f"export {fix}")
