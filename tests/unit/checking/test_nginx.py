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
