"""What clients may send by mistake or malice: the documented close code, no traceback, a living worker."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.local.stack import LocalStack
from tests.support.clients import websocket_client
from tests.support.worker import Worker, running_worker

ORIGIN = "https://app.example.com"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(stack: LocalStack) -> AsyncIterator[Worker]:
    """A worker that allows one origin; in the end it still serves, and has logged no traceback."""
    async with running_worker(stack, BRIDGE_ALLOWED_ORIGINS=ORIGIN) as running:
        yield running
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{running.url}/healthz")).status_code == 200
        assert running.process.returncode is None
    assert "Traceback" not in running.raw_log


async def _close_code(
    worker: Worker,
    *frames: str | bytes,
    token: str | None = None,
    origin: str | None = ORIGIN,
    path: str = "/ws",
) -> tuple[int | None, list[dict]]:
    """Send ``frames`` and return the close code and what came before it."""
    protocols = ["bridge.v1"] if token is None else ["bridge.v1", f"bearer.{token}"]
    heard: list[dict] = []
    async with (
        asyncio.timeout(10),
        connect(f"ws://127.0.0.1:{worker.port}{path}", subprotocols=protocols, origin=origin) as socket,  # type: ignore[arg-type]
    ):
        try:
            if token is not None:
                heard.append(json.loads(await socket.recv()))
            for frame in frames:
                await socket.send(frame)
            while True:
                heard.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            pass
    return socket.close_code, heard


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{not json", 4400),
        ('"text"', 4400),
        ("[]", 4400),
        ("{}", 4400),
        ('{"type":"drop_table"}', 4400),
        ('{"type":"subscribe","dialogs":"all"}', 4400),
        ('{"type":"subscribe","dialogs":[{}]}', 4400),
        ('{"type":"subscribe","since":5}', 4400),
        ("[" * 30_000, 4400),
        (b"\x00\x01", 4400),
        ("x" * 1_000_000, 4413),
        ('{"type":"auth","token":"nonsense"}', 4401),
    ],
    ids=[
        "json",
        "string",
        "array",
        "no type",
        "type",
        "dialogs",
        "ids",
        "since",
        "nested",
        "binary",
        "1 MB",
        "refresh",
    ],
)
async def test_a_signed_in_client_that_sends_nonsense(
    worker: Worker, stack: LocalStack, frame: str | bytes, code: int
):
    """Its connection is closed with the code for it."""
    closed, heard = await _close_code(worker, frame, token=stack.token(str(uuid.uuid4())))
    assert closed == code
    if code != 4413:
        assert heard[-1]["type"] == "error"
        assert heard[-1]["message"]


async def test_tokens_that_do_not_count(worker: Worker, stack: LocalStack):
    """Wrong, expired, of another project, of a service, without a subject, in the URL, none at all."""
    user = str(uuid.uuid4())
    other = LocalStack().token(user)
    for token, code in (
        ("nonsense", 4401),
        (other, 4401),
        (stack.token(user, ttl_s=-5), 4409),
        (stack.service_role_key, 4401),
        (stack.token(None), 4401),
        (stack.token("not-a-uuid"), 4401),
    ):
        closed, heard = await _close_code(worker, token=token)
        assert closed == code, token[:12]
        assert heard[0]["type"] == "error"
        assert token not in json.dumps(heard)
    assert (await _close_code(worker, path=f"/ws?token={stack.token(user)}"))[0] == 4401
    assert (await _close_code(worker, '{"type":"subscribe"}'))[0] == 4401


@pytest.mark.parametrize("text", ["\ud800", "\0"])
async def test_a_token_that_jsonb_would_refuse(worker: Worker, stack: LocalStack, text: str):
    """Half a surrogate pair, or NUL, in a claim, well signed: by each way a token that is not understood."""
    user = str(uuid.uuid4())
    half = stack.token(user, user_metadata={"x": text})
    auth = json.dumps({"type": "auth", "token": half})
    for found in (
        await _close_code(worker, token=half),
        await _close_code(worker, auth),
        await _close_code(worker, auth, token=stack.token(user)),
    ):
        assert (found[0], found[1][-1]["code"]) == (4401, "invalid_token")
    async with httpx.AsyncClient(base_url=worker.url) as http:
        headers = {"Origin": ORIGIN, "Authorization": f"Bearer {half}"}
        answer = await http.get("/poll", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token")
    assert not [line for line in worker.log if line["event"] == "connection_crashed"]


async def test_a_client_that_says_nothing_is_closed_in_time(worker: Worker):
    """5 s without a token, and it is over."""
    closed, _ = await _close_code(worker)
    assert closed == 4408


async def test_origins_that_are_not_allowed(worker: Worker, stack: LocalStack):
    """Another page, and a connection without an origin, are refused where origins are set."""
    token = stack.token(str(uuid.uuid4()))
    for origin in ("https://evil.example.com", None):
        assert (await _close_code(worker, token=token, origin=origin))[0] == 4403
    async with httpx.AsyncClient(base_url=worker.url) as http:
        for headers in ({"Origin": "https://evil.example.com"}, {}):
            answer = await http.get("/poll", headers={**headers, "Authorization": f"Bearer {token}"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


async def test_another_users_token_does_not_refresh(worker: Worker, stack: LocalStack):
    """A connection belongs to one user."""
    frame = json.dumps({"type": "auth", "token": stack.token(str(uuid.uuid4()))})
    assert (await _close_code(worker, frame, token=stack.token(str(uuid.uuid4()))))[0] == 4403


async def test_a_token_that_expires_ends_the_connection_at_once(worker: Worker, stack: LocalStack):
    """Within a second of `exp`, with 4409; a refresh before keeps it open."""
    user = str(uuid.uuid4())
    started = asyncio.get_running_loop().time()
    closed, _ = await _close_code(worker, token=stack.token(user, ttl_s=2))
    assert closed == 4409
    assert asyncio.get_running_loop().time() - started < 4
    url = f"ws://127.0.0.1:{worker.port}/ws"
    async with connect(
        url, subprotocols=["bridge.v1", f"bearer.{stack.token(user, ttl_s=2)}"], origin=ORIGIN
    ) as socket:  # type: ignore[list-item, arg-type]
        await socket.send(json.dumps({"type": "auth", "token": stack.token(user, ttl_s=60)}))
        types = [json.loads(await socket.recv())["type"] for _ in range(3)]
        assert types == ["connected", "status", "authenticated"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await socket.recv()
        await socket.send('{"type":"ping","id":7}')
        assert json.loads(await socket.recv())["id"] == 7


async def test_too_much_of_everything(stack: LocalStack):
    """Connections in all, connections of a user, messages: 4429.  Files that run out: the log says so."""
    user, token = str(uuid.uuid4()), None
    token = stack.token(user)
    settings = {"BRIDGE_MAX_CONNECTIONS": "3", "BRIDGE_MAX_CONNECTIONS_PER_USER": "2"}
    async with running_worker(stack, command=("tests.support.few_files", "80"), **settings) as worker:
        async with websocket_client(worker.ws_url, token), websocket_client(worker.ws_url, token):
            assert (await _close_code(worker, token=token))[0] == 4429
            async with websocket_client(worker.ws_url, stack.token(str(uuid.uuid4()))):
                assert (await _close_code(worker, token=stack.token(str(uuid.uuid4()))))[0] == 4429
        closed, heard = await _close_code(worker, *(['{"type":"ping"}'] * 200), token=token)
        assert closed == 4429
        assert sum(m["type"] == "pong" for m in heard) < 100

        assert (await worker.logged("open_files_few"))["limit"] == 80
        clients = [await asyncio.open_connection("127.0.0.1", worker.port) for _ in range(100)]
        assert (await worker.logged("open_files_exhausted"))["limit"] == 80
        for _, writer in clients:
            writer.transport.abort()
        async with asyncio.timeout(20), httpx.AsyncClient() as http:
            ready = 503
            while ready != 200:
                with contextlib.suppress(httpx.TransportError):
                    ready = (await http.get(f"{worker.admin_url}/readyz")).status_code
                await asyncio.sleep(0.05)
    assert "Traceback" not in worker.raw_log


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 401),
        ("", {"Authorization": "Bearer nonsense"}, 401),
        ("?timeout_s=soon", None, 400),
        ("?timeout_s=-1", None, 400),
        ("?timeout_s=nan", None, 400),
        ("?since=nonsense&timeout_s=0", None, 200),
        ("?since=%00%ff-99999999999999999999999999&timeout_s=0", None, 200),
    ],
)
async def test_polls_that_make_no_sense(
    stack: LocalStack, worker: Worker, query: str, headers: dict | None, status: int
):
    """A JSON error with the right status; a cursor nobody knows is `recovered: false`, not an error."""
    sent = {"Authorization": f"Bearer {stack.token(str(uuid.uuid4()))}"} if headers is None else headers
    async with httpx.AsyncClient(base_url=worker.url) as http:
        answer = await http.get(f"/poll{query}", headers={"Origin": ORIGIN, **sent})
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["recovered"] is False
    else:
        assert answer.json()["error"]["message"]
