"""The OpenAPI document and Swagger UI, from the package's own files: no other host is asked."""

from functools import cache

from fastapi import FastAPI, Response
from swagger_ui_bundle import swagger_ui_path

from tocsin.api.needs import public
from tocsin.api.openapi import document
from tocsin.api.problems import Refused
from tocsin.api.render import dumps

DOCUMENT = "/api/openapi.json"
PAGE = "/api/docs"

_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_HTML = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tocsin API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# validatorUrl: null keeps Swagger UI from asking validator.swagger.io for a badge.
_SCRIPT = """SwaggerUIBundle({
  url: "docs/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


def add_routes(app: FastAPI) -> None:
    """Add the document and the page that shows it."""

    @app.get(DOCUMENT, include_in_schema=False)
    @public()
    async def openapi() -> Response:
        return Response(dumps(document(app)), media_type="application/json")

    @app.get(PAGE, include_in_schema=False)
    @public()
    async def page() -> Response:
        return Response(_HTML, media_type="text/html")

    @app.get(f"{PAGE}/{{name}}", include_in_schema=False)
    @public()
    async def asset(name: str) -> Response:
        if name == "start.js":
            return Response(_SCRIPT, media_type="text/javascript")
        if name == "openapi.json":
            # The bundled Swagger UI 4 shows these shapes well, but gives up where it reads that
            # they are OpenAPI 3.1.
            shown = document(app) | {"openapi": "3.0.3"}
            return Response(dumps(shown), media_type="application/json")
        if name not in _ASSETS:
            raise Refused(404, "not_found", f"there is nothing at {PAGE}/{name[:100]}")
        return Response(
            _asset(name), 200, {"Cache-Control": "public, max-age=86400"}, _ASSETS[name]
        )


@cache
def _asset(name: str) -> bytes:
    content: bytes = (swagger_ui_path / name).read_bytes()
    return content
