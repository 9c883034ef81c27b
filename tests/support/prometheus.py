"""promtool and Prometheus, as Debian's package `prometheus` has them."""

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest


async def promtool(*arguments: str, stdin: bytes = b"") -> str:
    """Run promtool and return what it says; skip where there is none.  Of success it says nothing on stderr."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate(stdin)
    assert process.returncode == 0, out.decode()
    return out.decode()


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=20)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression, as of now; it has to be one that Prometheus understands."""
        answer = (await self._http.get("/api/v1/query", params={"query": expression})).json()
        assert answer["status"] == "success", (expression, answer)
        return list(answer["data"]["result"])

    async def query_range(
        self, expression: str, *, start_s: float, end_s: float, step_s: float
    ) -> list[dict[str, Any]]:
        """Return the series of an expression over time."""
        query = {"query": expression, "start": start_s, "end": end_s, "step": step_s}
        answer = (await self._http.get("/api/v1/query_range", params=query)).json()
        assert answer["status"] == "success", (expression, answer)
        return list(answer["data"]["result"])

    async def rules(self) -> list[dict[str, Any]]:
        """Return the alerts that it knows, with their state."""
        answer = (await self._http.get("/api/v1/rules")).json()
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]]

    async def close(self) -> None:
        await self._http.aclose()


@contextlib.asynccontextmanager
async def running_prometheus(
    folder: Path, *targets: str, rules: Path | None = None, every: str = "500ms"
) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes these addresses as job ``bridge``; skip where there is none."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [] if rules is None else [str(rules)],
        "scrape_configs": [{"job_name": "bridge", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    prometheus = Prometheus(f"http://{address}")
    try:
        async with asyncio.timeout(30):
            while True:
                assert process.returncode is None
                with contextlib.suppress(httpx.HTTPError, KeyError, ValueError, AssertionError):
                    if await prometheus.query("up == 1"):
                        break
                await asyncio.sleep(0.1)
        yield prometheus
    finally:
        await prometheus.close()
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.wait()
