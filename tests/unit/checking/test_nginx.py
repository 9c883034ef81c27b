"""nginx's configuration is judged by what holds where requests are passed on."""

import pytest

from bridge.checking.nginx import check_nginx, parse, passed_on
from tests.support.stack import ROOT

CONF = (ROOT / "ops" / "nginx" / "bridge.conf").read_text()

OWN = """
http {  # somebody's own
  proxy_read_timeout 20s;
  server {
    listen 443 ssl; add_header X "a; } b";
    proxy_http_version 1.1;
    location / { proxy_pass http://127.0.0.1:8080; }
    location /ws {
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
      proxy_pass http://127.0.0.1:3002;
    }
    location /poll { proxy_pass http://127.0.0.1:3002; proxy_read_timeout 1m; }
  }
}
"""


def test_our_own_configuration_passes() -> None:
    """The file in ops/, with the default ping interval."""
    (found,) = check_nginx(CONF, ping_interval_s=25)
    assert found.status == "ok", found


def test_a_read_timeout_below_the_ping_interval_is_found() -> None:
    """Inherited or not; the fix leaves room, and pasting it mends it."""
    (found,) = check_nginx(OWN, ping_interval_s=25)
    assert (found.subject, found.status, found.paste) == ("/ws", "fail", "nginx")
    assert "20 s" in found.says
    mended = OWN.replace("location /ws {", f"location /ws {{ {found.fix}")
    assert [check.status for check in check_nginx(mended, ping_interval_s=25)] == ["ok"]


def test_without_a_setting_nginx_waits_a_minute() -> None:
    """A ping interval of two minutes does not fit, one of 25 s does."""
    plain = OWN.replace("proxy_read_timeout 20s;", "")
    assert [check.status for check in check_nginx(plain, ping_interval_s=25)] == ["ok"]
    (found,) = check_nginx(plain, ping_interval_s=120)
    assert found.fix == "proxy_read_timeout 360s;"


def test_an_upgrade_that_is_not_passed_on_is_found() -> None:
    """A proxy_set_header of its own hides those that are inherited, as in nginx."""
    lost = OWN.replace("20s", "75s").replace('Connection "upgrade"', "X-Real-IP $remote_addr")
    (found,) = check_nginx(lost, ping_interval_s=25)
    assert "upgrade" in found.says
    assert "proxy_set_header Upgrade $http_upgrade;" in found.fix


def test_a_short_poll_is_found() -> None:
    """A long poll waits for 25 s."""
    short = OWN.replace("20s", "75s").replace("timeout 1m", "timeout 10s")
    (found,) = check_nginx(short, ping_interval_s=25)
    assert found.subject == "/poll"


@pytest.mark.parametrize("text", ["server { location /ws { proxy_pass http://x; }", "}", "events { }", ""])
def test_what_is_no_such_configuration_is_said(text: str) -> None:
    """Braces that do not match, and a file that passes nothing on."""
    (found,) = check_nginx(text, ping_interval_s=25)
    assert (found.status, bool(found.fix)) == ("fail", True)


def test_quotes_and_comments_are_no_structure() -> None:
    """A brace in a string, a semicolon in a comment."""
    locations = [one.location for one in passed_on(parse(OWN + "# } ; {"))]
    assert locations == ["/", "/ws", "/poll"]


GOOD = """
location = /ws {
  proxy_pass http://127.0.0.1:3002; proxy_http_version 1.1; proxy_read_timeout 75s;
  proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
}
"""


@pytest.mark.parametrize("value", ['""', "close", "keep-alive"])
def test_a_connection_header_of_another_application_passes_no_upgrade(value: str) -> None:
    """It is set, to what keeps the upgrade from the worker."""
    (found,) = check_nginx(GOOD.replace('"upgrade"', value), ping_interval_s=25)
    assert "upgrade" in found.says


def test_the_admin_port_is_nobodys_but_the_operators() -> None:
    """Also by the name of an upstream."""
    upstream = "upstream bridge { server 127.0.0.1:3002; server 127.0.0.1:3003 max_fails=0; }"
    for text in (GOOD.replace("3002", "3003"), upstream + GOOD.replace("127.0.0.1:3002", "bridge")):
        (found,) = check_nginx(text, ping_interval_s=25, port=3002, admin_port=3003)
        assert (found.status, "3003" in found.says) == ("fail", True)
        assert found.fix == "proxy_pass http://127.0.0.1:3002;"


def test_requests_that_go_elsewhere_are_found() -> None:
    """A second worker beside the first is fine, and so is a port that the file does not tell."""
    (found,) = check_nginx(GOOD.replace("3002", "8000"), ping_interval_s=25, port=3002, admin_port=3003)
    assert (found.status, "BRIDGE_PORT is 3002" in found.says) == ("warning", True)
    two = "upstream bridge { server 127.0.0.1:3002; server 127.0.0.1:3004; }"
    for target, before in (("http://bridge", two), ("http://127.0.0.1:3002/", ""), ("$backend", "")):
        text = before + GOOD.replace("http://127.0.0.1:3002", target)
        assert [c.status for c in check_nginx(text, ping_interval_s=25, port=3002, admin_port=3003)] == ["ok"]


def test_the_location_is_the_one_that_nginx_takes() -> None:
    """By expression as well; what another application passes on is its own business."""
    other = "server { location / { proxy_pass http://127.0.0.1:8000; } }"
    for location in ("~ ^/(ws|poll)$", "~* ^/WS$", "/ws", "^~ /realtime/ws", "= /ws"):
        text = other + GOOD.replace("= /ws", location)
        assert [check.status for check in check_nginx(text, ping_interval_s=25)] == ["ok"], location
