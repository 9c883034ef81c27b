"""A real nginx with ops/nginx/bridge.conf: free ports, a certificate of its own, times scaled."""

import asyncio
import contextlib
import datetime as dt
import os
import re
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.bench.balancer import TEMPORARY
from bridge.clock import SystemClock
from bridge.listening import free_port
from tests.support.stack import ROOT

CONF = ROOT / "ops" / "nginx" / "bridge.conf"

PROCESSES = 2

_MAIN = """
daemon off;
{user}
worker_processes {processes};
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 2048; }}
http {{
    {temporary}
    include {folder}/bridge.conf;
}}
"""


class Nginx:
    """A running nginx.

    Attributes:
        tls: Trusts its certificate.
        folder: Its configuration and logs.
    """

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, ports: tuple[int, int]) -> None:
        self.folder = folder
        self.process = process
        self.http_port, self.port = ports
        self.tls = ssl.create_default_context(cafile=str(folder / "cert.pem"))

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"wss://localhost:{self.port}/ws"

    async def reload(self) -> None:
        """Have new processes take over, and wait until they have: the former ones accept nobody any more."""
        before = self._ending()
        self.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while self._ending() < before + PROCESSES:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def _ending(self) -> int:
        return (self.folder / "error.log").read_text().count("gracefully shutting down")


@contextlib.asynccontextmanager
async def running_nginx(folder: Path, *worker_ports: int, **edits: str) -> AsyncIterator[Nginx]:
    """Run nginx before workers on these ports; skip where there is none.

    Args:
        folder: For its files.
        worker_ports: Ports on 127.0.0.1.
        edits: Directives and the values they have here.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    ports = (free_port(), free_port())
    _certificate(folder)
    (folder / "bridge.conf").write_text(_adapted(folder, ports, worker_ports, edits))
    user = "user root;" if os.geteuid() == 0 else ""  # its processes read and write `folder`
    temporary = TEMPORARY.format(folder=folder)
    (folder / "nginx.conf").write_text(
        _MAIN.format(folder=folder, user=user, temporary=temporary, processes=PROCESSES)
    )
    process = await asyncio.create_subprocess_exec(
        program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")
    )
    try:
        async with asyncio.timeout(20):
            await _until_open(process, ports[1], folder)
        yield Nginx(folder, process, ports)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.wait()


def _adapted(folder: Path, ports: tuple[int, int], workers: tuple[int, ...], edits: dict[str, str]) -> str:
    text = re.sub(r"^.*listen \[::\].*\n", "", CONF.read_text(), flags=re.MULTILINE)
    text = text.replace("listen 80;", f"listen 127.0.0.1:{ports[0]};")
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{ports[1]} ssl;")
    text = text.replace(
        "    server 127.0.0.1:3002 max_fails=0;",
        "\n".join(f"    server 127.0.0.1:{port} max_fails=0;" for port in workers),
    )
    text = re.sub(r"/etc/letsencrypt/live/[^/]+/fullchain\.pem", f"{folder}/cert.pem", text)
    text = re.sub(r"/etc/letsencrypt/live/[^/]+/privkey\.pem", f"{folder}/key.pem", text)
    text = text.replace("/var/log/nginx/bridge.log", f"{folder}/access.log").replace(
        "realtime.example.com", "localhost"
    )
    for name, value in edits.items():
        found = re.subn(rf"^(\s*)(?:# )?{name}\s.*?;", rf"\g<1>{name} {value};", text, flags=re.MULTILINE)
        assert found[1] >= 1, name
        text = found[0]
    return text


def _certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))


async def _until_open(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    while True:
        assert process.returncode is None, (folder / "error.log").read_text()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
