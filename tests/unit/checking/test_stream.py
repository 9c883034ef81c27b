"""Why there is no stream, in the words of a real Realtime and of Postgres."""

import pytest

from bridge.capture.refusal import explain
from bridge.checking.stream import judge_realtime, judge_slot
from bridge.config import Config

HOSTED = Config(supabase_url="https://abc.supabase.co", service_role_key="k")
REFUSED = (
    "upstream_restarted: Unable to subscribe to changes with given parameters. Please check Realtime is enabled "
    "for the given connect parameters: [event: *, schema: public, table: Rooms, filters: []]"
)
OWN = Config(supabase_url="http://127.0.0.1:8000", service_role_key="k")


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        (
            REFUSED,
            "select public.bridge_publish('public.\"Rooms\"');",
        ),
        ("CHANNEL_ERROR: PrivateOnly: This project only allows private channels", "Allow public access"),
        ("RealtimeDisabledForTenant: Realtime disabled for this tenant", "Enable Realtime service"),
        ("HTTP 401 at the WebSocket handshake: the key does not belong", "export SUPABASE_SERVICE_ROLE_KEY="),
        (
            "CHANNEL_ERROR: JwtSignatureError: Failed to validate JWT signature",
            "export SUPABASE_SERVICE_ROLE_KEY=",
        ),
        (
            'Exception: ERROR 42704 (undefined_object) role "bridge_worker" does not exist: try again',
            "bridge migrate",
        ),
        ("no answer within 20 s", "/realtime/settings : is it enabled?"),
    ],
)
def test_what_realtime_refuses_has_its_fix(reason: str, fix: str) -> None:
    """The statement, the setting, or the page to go to."""
    found = judge_realtime(HOSTED, reason, ("bridge.journal",))
    assert (found.status, fix in found.fix) == ("fail", True), found


def test_a_realtime_of_ones_own_is_started_by_hand() -> None:
    """No dashboard there."""
    assert "docker compose" in judge_realtime(OWN, "ConnectionRefusedError: is it up", ()).fix
    assert judge_realtime(OWN, None, ("bridge.journal",)).status == "ok"


def test_slots_that_nobody_reads_can_go() -> None:
    """Else the limit is raised."""
    reason = str(explain("all replication slots are in use"))
    assert judge_slot(reason, ["idle"]).fix == "select pg_drop_replication_slot('idle');"
    assert "max_replication_slots" in judge_slot(reason, []).fix
    refused = "FATAL: must have REPLICATION attribute: let it"
    assert judge_slot(refused, [], user="my reader").fix == 'alter role "my reader" with replication;'
    assert judge_slot(None, []).status == "ok"
