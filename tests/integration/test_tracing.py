"""Traces of a real worker, sent to a collector that keeps them."""

import asyncio
import gzip
import uuid

import psycopg
import pytest

from bridge.local.stack import LocalStack
from tests.support.clients import websocket_client
from tests.support.worker import running_worker

collector = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="the extra otel is not installed"
)


async def test_a_change_is_traced_to_the_collector_without_its_row(stack: LocalStack):
    """Its way in three parts, of the service that was named, before the worker has ended."""
    received: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        received.append(gzip.decompress(body) if "content-encoding: gzip" in head else body)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    user = str(uuid.uuid4())
    async with await asyncio.start_server(collect, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with (
            running_worker(
                stack, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SERVICE_NAME="chat-bridge"
            ) as worker,
            websocket_client(worker.ws_url, stack.token(user)) as client,
            await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as connection,
        ):
            await connection.execute(
                "insert into public.dialogs (owner_id, title) values (%s, 'canary')", (user,)
            )
            await client.until_type("dialog_update")
    assert worker.process.returncode == 0
    whole = b"".join(received)
    requests = [collector.ExportTraceServiceRequest.FromString(body) for body in received]
    spans = {
        span.name
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert spans == {"change", "capture", "authorize", "fan-out"}
    assert b"chat-bridge" in whole
    assert not [secret for secret in (b"canary", user.encode()) if secret in whole]
