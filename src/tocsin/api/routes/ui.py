"""The web UI: its built files, at the root."""

import mimetypes
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import cast

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.api.accept import prefers_html
from tocsin.api.problems import Refused

PAGES = (
    "sign-in",
    "timeline",
    "jobs",
    "executions",
    "monitors",
    "alerts",
    "channels",
    "cluster",
    "keys",
    "secrets",
    "audit",
)
"""The first parts of the paths of pages; the page itself finds out what to show."""

NO_PAGES = ("api", "assets")
"""The first parts of the paths below which there are no pages, mistyped or not."""

FEATURES = ("session", "keys", "secrets", "audit", "monitors", "alerts", "channels")
"""Resources whose pages are shown only where the API has them."""

POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; font-src 'self'; "
    # Mantine writes the styles of single elements into <style> tags.
    "img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing is loaded from, and nothing is sent to, another host; no script but our own runs."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",
}
_NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tocsin</title>
<style>
body { font: 16px/1.6 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem;
       color-scheme: light dark }
code { font: 0.95em ui-monospace, monospace }
</style>
<h1>Tocsin is running</h1>
<p>Its pages were not built in this source tree. Build them, and reload:</p>
<pre><code>make ui</code></pre>
<p>The wheel has them built in. The API is there in any case: see <a href="/api/docs">its
documentation</a>.</p>
"""


def add_routes(app: FastAPI, folder: Path | None) -> None:
    """Add the pages and their files; a page that says how to build them where there are none.

    They are plain routes: pages have query parameters that only they know.
    """

    async def page(_: Request) -> Response:
        return Response(filled() or _NOT_BUILT, 200, _HEADERS, "text/html")

    def filled() -> str | None:
        index = None if folder is None else folder / "index.html"
        if index is None or not index.is_file():
            return None
        # What the page has to know before its first request.
        html = index.read_text("utf-8")
        for name, said in (("version", app.version), ("features", _features(app))):
            html = html.replace(
                f'name="tocsin-{name}" content=""', f'name="tocsin-{name}" content="{said}"'
            )
        return html

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        # Their names hold a hash of what is in them.
        return _file(request, "assets/" + name, "public, max-age=31536000, immutable")

    async def at_root(request: Request) -> Response:
        return _file(request, request.url.path[1:], "public, max-age=3600")

    def _file(request: Request, name: str, caching: str) -> Response:
        found = None if folder is None else _read(folder, name)
        if found is None:
            raise Refused(404, "not_found", f"there is nothing at {request.url.path[:200]}")
        content, zipped, media = found
        headers = {"Cache-Control": caching, "Vary": "Accept-Encoding"}
        if zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(zipped, 200, headers | {"Content-Encoding": "gzip"}, media)
        return Response(content, 200, headers, media)

    app.add_route("/", page, include_in_schema=False)
    for name in PAGES:
        app.add_route(f"/{name}", page, include_in_schema=False)
        app.add_route(f"/{name}/{{rest:path}}", page, include_in_schema=False)
    app.add_route("/assets/{name}", asset, include_in_schema=False)
    for name in ("favicon.svg", "favicon-bad.svg", "early.js"):
        app.add_route(f"/{name}", at_root, include_in_schema=False)
    _show_what_is_not_there(app, filled)


def _show_what_is_not_there(app: FastAPI, filled: Callable[[], str | None]) -> None:
    """Let browsers have the page that says so; programs are answered as everywhere."""
    otherwise = app.exception_handlers[HTTPException]

    async def missing(request: Request, error: Exception) -> Response:
        html = None
        if (
            isinstance(error, HTTPException)
            and error.status_code == 404
            and request.method in ("GET", "HEAD")
            and request.url.path.removeprefix("/").partition("/")[0] not in NO_PAGES
            and prefers_html(request.headers.get("accept", ""))
        ):
            html = filled()
        if html is None:
            return await cast("Awaitable[Response]", otherwise(request, error))
        return Response(html, 404, _HEADERS | {"Vary": "Accept"}, "text/html")

    app.add_exception_handler(HTTPException, missing)


def _features(app: FastAPI) -> str:
    """The resources that not every version has, of those that pages ask for."""
    paths = {getattr(route, "path", "") for route in app.routes}
    return " ".join(name for name in FEATURES if f"/api/v1/{name}" in paths)


@lru_cache(maxsize=256)
def _read(folder: Path, name: str) -> tuple[bytes, bytes | None, str] | None:
    """A file, the same compressed where the build made that, and its type."""
    path = folder / name
    if "/" in name.removeprefix("assets/") or name.endswith(".gz") or not path.is_file():
        return None
    zipped = path.with_name(path.name + ".gz")
    media = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return path.read_bytes(), zipped.read_bytes() if zipped.is_file() else None, media
