"""Which source there is, by the settings and the catalog."""

import psycopg
import pytest
import structlog

from bridge.capture import JournalSource, RealtimeSource
from bridge.clock import SystemClock
from bridge.config import Config
from bridge.errors import ConfigError
from bridge.local.stack import LocalStack
from bridge.rpc import ProjectRpc
from bridge.upstream import open_upstream
from tests.support.stack import local_stack


@pytest.fixture(scope="module")
def stack():
    """The reference schema, whose tables are in the journal."""
    with local_stack() as running:
        yield running


async def opened(stack: LocalStack, **settings: object):
    config = Config(
        supabase_url=stack.url,
        service_role_key=stack.service_role_key,
        database_url="postgresql://x",
        **settings,
    )
    rpc = await ProjectRpc.connect(stack.url, stack.service_role_key)
    try:
        return await open_upstream(config, rpc, clock=SystemClock())
    finally:
        await rpc.close()


@pytest.mark.parametrize("upstream", ["realtime", "wal"])
@pytest.mark.parametrize("capture", ["auto", "journal"])
async def test_the_journal_is_taken_where_it_is(stack: LocalStack, capture: str, upstream: str):
    """The choice is kept in the settings, so that a later load makes the same one."""
    found = await opened(stack, capture=capture, upstream=upstream)
    assert isinstance(found.source, JournalSource)
    assert found.settings.kept == "journal"
    assert "public.dialog_participants" in found.tables


async def test_the_tables_can_be_chosen_all_the_same(stack: LocalStack):
    """Then the journal is not looked at."""
    found = await opened(stack, capture="tables")
    assert isinstance(found.source, RealtimeSource)
    assert (found.settings.kept, found.source.tables) == ("tables", found.tables)


async def test_tables_that_are_not_in_the_journal_stop_the_start_with_what_to_do(stack: LocalStack):
    """Where it is asked for; without that they are captured themselves, which the WAL does not bring."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("select public.bridge_unwatch('public.messages')")
        try:
            with pytest.raises(ConfigError, match=r"select public.bridge_watch\('public.messages'\)"):
                await opened(stack, capture="journal")
            with structlog.testing.capture_logs() as logs:
                found = await opened(stack, tables=("public.Dialogs", 'public."messages"'))
            assert isinstance(found.source, RealtimeSource)
            assert found.names.tables == ("public.dialogs", "public.messages")
            [chosen] = [line for line in logs if line["event"] == "capture_chosen"]
            assert chosen["hint"] == "select public.bridge_watch('public.messages')"
            with pytest.raises(
                ConfigError, match=r"brings the journal only.*select public.bridge_watch\('pub"
            ):
                await opened(stack, upstream="wal")
        finally:
            connection.execute("select public.bridge_watch('public.messages')")
