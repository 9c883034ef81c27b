"""The browser client's files on the public port."""

from pathlib import Path

import httpx
from starlette.applications import Starlette

from bridge.connection.files import file_routes


async def get(folder: Path, path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(Starlette(routes=file_routes(folder)))
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge") as http:
        return await http.get(path, headers=headers)


async def test_modules_and_types_come_with_their_media_types(tmp_path: Path):
    """Browsers refuse a module of another type."""
    (tmp_path / "client.js").write_text("export {}")
    (tmp_path / "client.d.ts").write_text("export {};")
    (tmp_path / "notes.txt").write_text("not for anybody")
    assert (await get(tmp_path, "/client.js")).headers["Content-Type"].startswith("text/javascript")
    assert (await get(tmp_path, "/client.d.ts")).headers["Content-Type"].startswith("application/typescript")
    assert (await get(tmp_path, "/notes.txt")).status_code == 404


async def test_who_has_the_file_already_is_told_so(tmp_path: Path):
    """By its hash, also behind a proxy that weakens it; another content has another hash."""
    (tmp_path / "client.js").write_text("export {}")
    first = await get(tmp_path, "/client.js")
    etag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "no-cache"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await get(tmp_path, "/client.js", **{"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    (tmp_path / "client.js").write_text("export { }")
    changed = await get(tmp_path, "/client.js", **{"If-None-Match": etag})
    assert (changed.status_code, changed.text) == (200, "export { }")
