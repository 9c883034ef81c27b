"""The opening handshake: path, subprotocol, and the token that may come with it."""

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bridge.connection.handshake import (
    MAX_HEADERS,
    MAX_LINE_BYTES,
    MAX_MESSAGE_BYTES,
    UNREADABLE,
    Protocol,
    answer,
    request_of,
    token_of,
)
from bridge.errors import InvalidTokenError

ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def request(path: str = "/ws", *protocols: str, key: bool = True) -> Request:
    headers = Headers({"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"})
    if key:
        headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    for offered in protocols:
        headers["Sec-WebSocket-Protocol"] = offered
    return Request(path, headers)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(), 101),
        (request("/ws?x=1"), 101),
        (request("/"), 404),
        (request("/ws/"), 404),
        (request("//[x/ws"), 404),
        (request("http://[::1/ws"), 404),
        (request("*"), 404),
        (request(key=False), 400),
    ],
)
def test_only_the_documented_path_is_a_websocket(asked: Request, status: int):
    """Elsewhere 404 says where it is."""
    accepted, response = answer(Protocol(), asked)
    assert (accepted, response.split(b" ")[1]) == (status == 101, b"%d" % status)


@pytest.mark.parametrize(
    ("protocols", "chosen"),
    [
        (["bridge.v1, bearer.t"], "bridge.v1"),
        (["bearer.t", "bridge.v1"], "bridge.v1"),
        (["bearer.t"], None),
        ([], None),
    ],
)
def test_the_token_is_never_sent_back_as_the_chosen_subprotocol(protocols: list[str], chosen: str | None):
    """`bridge.v1` where it is offered, else none."""
    _, response = answer(Protocol(), request("/ws", *protocols))
    said = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{ACCEPT}\r\n"
    assert (
        response.decode()
        == said + ("" if chosen is None else f"Sec-WebSocket-Protocol: {chosen}\r\n") + "\r\n"
    )


def test_a_handshake_that_cannot_be_read_is_refused_without_quoting_it():
    """A header may hold bytes that are no text, or a token."""
    _, response = answer(Protocol(), request("/ws", "bearer.secret \udce9\udcff"))
    assert response.startswith(b"HTTP/1.1 400 ")
    assert response.endswith(
        b"\nFailed to open a WebSocket connection: invalid Sec-WebSocket-Protocol header"
    )
    asked = request(key=False)
    asked.headers["Sec-WebSocket-Key"] = "\udce9"
    _, response = answer(Protocol(), asked)
    assert response.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize(
    ("protocols", "token"),
    [
        (["bridge.v1, bearer.a.b.c"], "a.b.c"),
        (["bridge.v1", " bearer.t "], "t"),
        (["bearer."], None),
        (["bearer"], None),
        ([], None),
    ],
)
def test_a_token_comes_as_subprotocol(protocols: list[str], token: str | None):
    """Whatever is not one is left for `auth`."""
    assert token_of(request("/ws", *protocols), allow_in_url=False) == token


def test_a_token_in_the_url_is_refused_unless_allowed():
    """And the refusal does not repeat it."""
    asked = request("/ws?token=secret-token")
    assert token_of(asked, allow_in_url=True) == "secret-token"
    with pytest.raises(InvalidTokenError) as refused:
        token_of(asked, allow_in_url=False)
    assert "secret-token" not in str(refused.value)


def test_a_message_that_is_too_large_closes_with_our_code():
    """4413 instead of 1009; other failures keep the code of RFC 6455."""
    for given, sent in ((1009, 4413), (1002, 1002)):
        protocol = Protocol()
        protocol.fail(given, "")
        assert protocol.close_sent is not None
        assert protocol.close_sent.code == sent
    assert MAX_MESSAGE_BYTES == 65536


def test_the_response_to_an_unreadable_request_is_whole():
    """Its length is what it says."""
    head, _, body = UNREADABLE.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_what_an_http_parser_has_read_becomes_a_handshake():
    """Without spaces at the end of a value; bytes that are no text are kept."""
    asked = request_of(b"GET", b"/ws?x=\xff", [(b"A", b" b \t"), (b"a", b"\xe9")])
    assert asked is not None
    assert (asked.path, asked.headers.get_all("A")) == ("/ws?x=\udcff", ["b", "\udce9"])


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        (b"POST", b"/ws", []),
        (b"GET", b"/ws", [(b"Content-Length", b"0")]),
        (b"GET", b"/ws", [(b"transfer-encoding", b"chunked")]),
        (b"GET", b"/" * MAX_LINE_BYTES, []),
        (b"GET", b"/ws", [(b"A", b"x" * MAX_LINE_BYTES)]),
        (b"GET", b"/ws", [(b"A", b"x")] * (MAX_HEADERS + 1)),
    ],
)
def test_a_request_with_a_body_or_without_bounds_is_none(
    method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]
):
    """What websockets' own parser refuses is refused here too."""
    assert request_of(method, url, headers) is None


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Connection", "keep-alive, Upgrade", 101),
        ("Connection", "close, uPGRADE", 101),
        ("Connection", "close", 426),
        ("Connection", ",;", 400),
        ("Upgrade", "WebSocket", 101),
        ("Upgrade", "h2c", 426),
        ("Sec-WebSocket-Version", "8", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==\n", 400),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSE=", 400),
        ("Sec-WebSocket-Extensions", "permessage-deflate", 101),
    ],
)
def test_a_handshake_is_judged_as_websockets_judges_it(header: str, value: str, status: int):
    """Known by sight or read by its grammar: the answer is the same."""
    asked = request("/ws", "bridge.v1")
    if header in asked.headers:
        del asked.headers[header]
    asked.headers[header] = value
    _, response = answer(Protocol(), asked)
    assert int(response.split(b" ")[1]) == status
    theirs = ServerProtocol().accept(asked)
    assert theirs.status_code == status
    if status == 101:
        assert f"Sec-WebSocket-Accept: {theirs.headers['Sec-WebSocket-Accept']}\r\n".encode() in response


@pytest.mark.parametrize("header", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Origin", "Upgrade"])
def test_a_header_that_comes_twice_is_refused(header: str):
    """Which of the two would count?"""
    asked = request()
    asked.headers.setdefault(header, "https://a")
    asked.headers[header] = asked.headers[header]
    assert answer(Protocol(), asked)[1].split(b" ")[1] in (b"400", b"426")
