"""Starts the demo's parts in order and stops them in reverse."""

import asyncio
import json
import random
from typing import Any

import click

from bridge.clock import SystemClock
from bridge.config import Config
from bridge.demo.seed import DIALOGS, USERS, seed
from bridge.demo.web import DemoPages
from bridge.demo.writer import write_now_and_then
from bridge.local.stack import LocalStack
from bridge.migration.command import run_migrate
from bridge.minting import mint_token
from bridge.service import Addresses, serve

TOKEN_TTL_S = 24 * 3600
"""Seconds that the demo users' tokens are valid: long enough for a day of trying."""


async def run_local(stop: asyncio.Event, *, as_json: bool) -> None:
    """Run the local stack until ``stop``; print how to reach it."""
    async with LocalStack() as stack:
        facts = await _prepare(stack)
        if as_json:
            click.echo(json.dumps(facts))
        else:
            click.echo(f"export SUPABASE_URL={facts['supabase_url']}")
            click.echo(f"export SUPABASE_SERVICE_ROLE_KEY={facts['service_role_key']}")
            click.echo(f"export SUPABASE_JWT_SECRET={facts['jwt_secret']}")
            click.echo(f"export SUPABASE_DB_URL='{facts['database_url']}'")
            click.echo(
                "# paste these into another terminal, then: bridge run    (Ctrl-C here ends the stack)",
                err=True,
            )
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(stack.watch_api(), name="api")
            await stop.wait()
            watching.cancel()


async def run_demo(stop: asyncio.Event, *, port: int, admin_port: int, as_json: bool, quiet: bool) -> None:
    """Run the local stack and the bridge until ``stop``; print the page's address."""
    if not as_json:
        click.echo("starting Postgres and a local Realtime (a few seconds)", err=True)
    async with LocalStack() as stack:
        facts = await _prepare(stack)
        config = Config(
            supabase_url=stack.url,
            service_role_key=stack.service_role_key,
            jwt_secret=stack.jwt_secret,
            port=port,
            admin_port=admin_port,
            log_format="console",
            drain_timeout_s=2.0,
        )
        pages = DemoPages(
            database_url=stack.database_url, tokens={user["id"]: user["token"] for user in facts["users"]}
        )

        def ready(addresses: Addresses) -> None:
            _print_demo({**facts, **_urls(addresses)}, as_json=as_json)

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(stack.watch_api(), name="api")
            writer = None
            if not quiet:
                writer = tasks.create_task(
                    write_now_and_then(stack.database_url, chooser=random.Random()),  # noqa: S311 - demo text
                    name="demo-writer",
                )
            await serve(config, stop=stop, clock=SystemClock(), on_ready=ready, routes=pages.routes())
            watching.cancel()
            if writer is not None:
                writer.cancel()


async def _prepare(stack: LocalStack) -> dict[str, Any]:
    environ = {"SUPABASE_DB_URL": stack.database_url}
    await run_migrate(environ, "up", reapply=False, show=lambda _line: None)
    await seed(stack.database_url)
    now = SystemClock().now()
    return {
        "supabase_url": stack.url,
        "anon_key": stack.anon_key,
        "service_role_key": stack.service_role_key,
        "jwt_secret": stack.jwt_secret,
        "database_url": stack.database_url,
        "users": [
            {
                "id": user.id,
                "email": user.email,
                "token": mint_token(
                    stack.jwt_secret,
                    user_id=user.id,
                    role="authenticated",
                    ttl_s=TOKEN_TTL_S,
                    now=now,
                    email=user.email,
                ),
            }
            for user in USERS
        ],
        "dialogs": [{"id": d.id, "title": d.title, "members": [m.id for m in d.members]} for d in DIALOGS],
    }


def _urls(addresses: Addresses) -> dict[str, str]:
    public = f"{addresses.host}:{addresses.port}"
    return {
        "url": f"http://{public}",
        "ws_url": f"ws://{public}/ws",
        "admin_url": f"http://{addresses.admin_host}:{addresses.admin_port}",
    }


def _print_demo(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    first = facts["users"][0]
    click.echo(f"""
  the chat page     {facts["url"]}
  WebSocket         {facts["ws_url"]}
  metrics, health   {facts["admin_url"]}/metrics  /readyz
  the database      psql '{facts["database_url"]}'
  a token of Ann    {first["token"]}

  Ctrl-C ends everything.
""")
