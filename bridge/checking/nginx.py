"""Reads an nginx configuration as far as it concerns the bridge: what holds where requests are passed on."""

import re
from collections.abc import Iterator, Sequence

import msgspec

from bridge.checking.report import Check, bad, ok
from bridge.connection.poll import DEFAULT_TIMEOUT_S

DEFAULT_READ_TIMEOUT_S = 60.0
"""What nginx takes without ``proxy_read_timeout``."""

_TOKEN = re.compile(
    r"""\s*(?:\#[^\n]*|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([{};])|([^\s;{}"'\#][^\s;{}]*))"""
)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_PORT = re.compile(r"(?:https?://)?(?:[^\s/:\[\]]+|\[[^\]]*\]):(\d+)(?:/.*)?")


class Block(msgspec.Struct):
    """A block: its own directives, with what they inherit."""

    words: tuple[str, ...]
    directives: list[tuple[str, ...]]
    blocks: "list[Block]"


class Passed(msgspec.Struct, frozen=True):
    """What holds for the requests of one location.

    Attributes:
        location: What its block says after ``location``.
        read_timeout_s: How long a silence may last.
        upgrades: The upgrade to a WebSocket is passed on.
        target: Where requests go, as ``proxy_pass`` has it.
    """

    location: str
    read_timeout_s: float
    upgrades: bool
    target: str


def parse(text: str) -> Block:
    """Return the whole file as a block.

    Raises:
        ValueError: its braces do not match.
    """
    top = Block((), [], [])
    stack = [top]
    words: list[str] = []
    for token in _tokens(text):
        match token:
            case "{":
                block = Block(tuple(words), [], [])
                stack[-1].blocks.append(block)
                stack.append(block)
                words = []
            case "}" if len(stack) > 1:
                stack.pop()
            case "}":
                raise ValueError("a } closes nothing")
            case ";":
                stack[-1].directives.append(tuple(words))
                words = []
            case _:
                words.append(token)
    if len(stack) > 1:
        raise ValueError(f"a {{ is not closed, of {' '.join(stack[-1].words)}")
    return top


def _tokens(text: str) -> Iterator[str]:
    for quoted, mark, word in _TOKEN.findall(text):
        found = quoted[1:-1] if quoted else mark or word
        if quoted or found:
            yield found


def passed_on(block: Block, inherited: Sequence[tuple[str, ...]] = ()) -> Iterator[Passed]:
    """Yield each location that passes requests on; headers are inherited whole, or not at all."""
    own = {words[0] for words in block.directives if words}
    here = [words for words in inherited if words[0] not in own] + [
        words for words in block.directives if words
    ]
    targets = [words[1] for words in block.directives if words[:1] == ("proxy_pass",) and len(words) > 1]
    if targets:
        timeouts = [
            _seconds(words[1]) for words in here if words[0] == "proxy_read_timeout" and len(words) > 1
        ]
        headers = {
            words[1].lower(): words[2] for words in here if words[0] == "proxy_set_header" and words[2:]
        }
        http = [words[1] for words in here if words[0] == "proxy_http_version" and len(words) > 1]
        yield Passed(
            " ".join(block.words[1:]) or "/",
            timeouts[-1] if timeouts else DEFAULT_READ_TIMEOUT_S,
            # A variable has what a map gives it; "" and close are what other applications want.
            bool(headers.get("upgrade"))
            and re.match(r"\$|upgrade$", headers.get("connection", ""), re.IGNORECASE) is not None
            and http[-1:] != ["1.0"]
            and bool(http),
            targets[-1],
        )
    kept = [words for words in here if words[0] != "proxy_pass"]
    for inner in block.blocks:
        yield from passed_on(inner, kept)


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+)(ms|[smhd])?", text)
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)


def serving(found: Sequence[Passed], path: str) -> list[Passed]:
    """Return the locations that nginx takes for ``path``: an exact one, else by expression, else by prefix.

    Of several servers in the file it is the one that says most; which of them the bridge's is, is not known.
    """

    def rank(one: Passed) -> int:
        kind, _, name = one.location.rpartition(" ")
        if kind in ("~", "~*"):
            flags = re.IGNORECASE if kind == "~*" else 0
            try:
                return 1000 if re.search(name, path, flags) else 0
            except re.error:
                return 0
        if name.endswith(path):  # below another path, too: who passes it on may take that off
            return 2000
        if kind == "=":
            return 0
        return len(name) if path.startswith(name) else 0

    most = max(map(rank, found), default=0)
    return [one for one in found if most and rank(one) == most]


def _ports(top: Block, target: str) -> set[int]:
    """Return the ports that a ``proxy_pass`` leads to, as far as the file says."""
    name = re.sub(r"^https?://", "", target).partition("/")[0]
    blocks, servers = [top], []
    while blocks:
        block = blocks.pop()
        blocks += block.blocks
        if block.words == ("upstream", name):
            servers += [words[1] for words in block.directives if words[:1] == ("server",) and words[1:]]
    matches = (_PORT.fullmatch(address) for address in servers or [target])
    return {int(match[1]) for match in matches if match}


def check_nginx(text: str, *, ping_interval_s: float, port: int = 0, admin_port: int = 0) -> list[Check]:
    """Judge a configuration file: WebSockets have to pass, and outlive the silence between two pings.

    Args:
        text: The file.
        ping_interval_s: Time between two pings.
        port: The worker's public port; 0 if it is not known.
        admin_port: Its admin port, which nobody may reach through nginx; 0 if it is not known.
    """
    try:
        top = parse(text)
        found = list(passed_on(top))
    except ValueError as error:
        return [bad("nginx", f"the file cannot be read ({error})", "nginx -t", "shell")]
    if not found:
        fix = "location = /ws { proxy_pass http://127.0.0.1:3002; }   # or copy ops/nginx/bridge.conf"
        return [
            bad("nginx", "no location passes requests on (included files are not looked into)", fix, "nginx")
        ]
    checks = [*_misled(top, found, port, admin_port)]
    # One that no longer poll needs may be shorter; which one the bridge's is only /ws tells.
    sockets = serving(found, "/ws") or found
    needed_s = max(3 * ping_interval_s, DEFAULT_TIMEOUT_S + 5)
    for one in sockets:
        if one.read_timeout_s <= ping_interval_s:
            says = (
                f"proxy_read_timeout is {one.read_timeout_s:g} s and pings come every {ping_interval_s:g} s: "
                "idle clients are cut off again and again"
            )
            checks.append(
                bad("nginx", says, f"proxy_read_timeout {needed_s:.0f}s;", "nginx", subject=one.location)
            )
        if not one.upgrades:
            says = "the upgrade to a WebSocket is not passed on, so that every client falls back to polling"
            fix = (
                "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\n"
                'proxy_set_header Connection "upgrade";'
            )
            checks.append(bad("nginx", says, fix, "nginx", subject=one.location))
    for one in serving(found, "/poll"):
        if one in sockets or one.read_timeout_s > DEFAULT_TIMEOUT_S:
            continue
        says = (
            f"proxy_read_timeout is {one.read_timeout_s:g} s, and a long poll takes {DEFAULT_TIMEOUT_S:g} s"
        )
        checks.append(
            bad("nginx", says, f"proxy_read_timeout {needed_s:.0f}s;", "nginx", subject=one.location)
        )
    least_s = min(one.read_timeout_s for one in sockets)
    return checks or [ok("nginx", f"upgrades pass, and proxy_read_timeout is {least_s:g} s")]


def _misled(top: Block, found: Sequence[Passed], port: int, admin_port: int) -> Iterator[Check]:
    """Yield what is wrong with where requests go."""
    for one in found:
        if admin_port and admin_port in _ports(top, one.target):
            says = f"requests reach the admin port ({admin_port}), where /connections names users"
            fix = f"proxy_pass http://127.0.0.1:{port or 3002};"
            yield bad("nginx", says, fix, "nginx", subject=one.location)
    for one in serving(found, "/ws"):
        ports = _ports(top, one.target)
        if port and ports and not ports & {port, admin_port}:
            says = f"requests go to port {min(ports)}, and BRIDGE_PORT is {port}"
            fix = f"proxy_pass http://127.0.0.1:{port};"
            yield bad("nginx", says, fix, "nginx", subject=one.location, status="warning")
