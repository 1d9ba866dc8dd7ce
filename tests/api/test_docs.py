"""The OpenAPI document and the page that shows it."""

import re
from typing import Any

import pytest

from tests.api.harness import Api, make_api
from tests.support.memory_store import MemoryStore
from tocsin.services import shapes

DOCUMENT = "/api/openapi.json"


@pytest.fixture(scope="module")
def shared() -> Api:
    return make_api(MemoryStore(), demo=True)


@pytest.fixture
async def document(shared: Api) -> dict[str, Any]:
    found: dict[str, Any] = await shared.get(DOCUMENT)
    return found


async def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "Tocsin"


async def test_every_route_of_the_issue_is_there(document: dict[str, Any]) -> None:
    found = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert found >= {
        "POST /api/v1/jobs",
        "POST /api/v1/jobs:batch",
        "GET /api/v1/jobs",
        "GET /api/v1/jobs/{ref}",
        "PUT /api/v1/jobs/{ref}",
        "PATCH /api/v1/jobs/{ref}",
        "DELETE /api/v1/jobs/{ref}",
        "POST /api/v1/jobs/{ref}/pause",
        "POST /api/v1/jobs/{ref}/resume",
        "POST /api/v1/jobs/{ref}/trigger",
        "POST /api/v1/jobs/{ref}/cancel",
        "GET /api/v1/jobs/{ref}/status",
        "GET /api/v1/jobs/{ref}/executions",
        "GET /api/v1/jobs/{ref}/preview",
        "GET /api/v1/jobs/{ref}/stats",
        "POST /api/v1/schedules:preview",
        "GET /api/v1/executions",
        "GET /api/v1/executions/{ref}",
        "POST /api/v1/executions/{ref}/cancel",
        "POST /api/v1/executions/{ref}/retry",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /api/v1/stats",
        "GET /api/v1/events",
        "GET /api/v1/demo/echo",
        "POST /api/v1/demo/echo",
    }


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = str(document)
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in document["components"]["schemas"]


async def test_every_operation_is_described(document: dict[str, Any]) -> None:
    ids = set()
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["summary"]
            assert operation["tags"]
            ids.add(operation["operationId"])
            for status, answer in operation["responses"].items():
                problem = "application/problem+json" in answer.get("content", {})
                assert (
                    problem == (int(status) >= 400)
                    or "ReadyOut" in str(answer)
                    or ("EchoOut" in str(answer))
                )
            assert "422" in operation["responses"]
    assert len(ids) == sum(len(item) for item in document["paths"].values())


async def test_every_text_list_and_number_that_is_sent_has_bounds(
    document: dict[str, Any],
) -> None:
    found = document["components"]["schemas"]
    unbounded = []

    def look(schema: Any, path: str) -> None:
        if not isinstance(schema, dict):
            return
        kind = schema.get("type")
        if kind == "string" and not {"maxLength", "enum", "const", "pattern"} & set(schema):
            unbounded.append(path)
        if kind == "array" and "maxItems" not in schema:
            unbounded.append(path)
        if kind == "integer" and "maximum" not in schema:
            unbounded.append(path)
        for name, part in schema.get("properties", {}).items():
            look(part, f"{path}.{name}")
        for group in ("anyOf", "oneOf"):
            for part in schema.get(group, []):
                look(part, path)
        for name in ("items", "additionalProperties"):
            look(schema.get(name), f"{path}[]")

    for name in ("JobIn", "TargetIn", "RetryIn", "MisfireIn", "CronIn", "EveryIn", "AtIn"):
        look(found[name], name)
    # Text of answers that people send back; it is not read.
    assert [path for path in unbounded if not path.endswith("In.description")] == []


async def test_every_known_field_is_in_the_document(document: dict[str, Any]) -> None:
    found = document["components"]["schemas"]
    assert set(found["JobIn"]["properties"]) == set(shapes.FIELDS[()])
    assert set(found["JobIn"]["required"]) == {"schedule", "target"}
    assert "required" not in found["JobPatch"]
    assert set(found["TargetIn"]["properties"]) == set(shapes.FIELDS["target",])
    for name in ("JobIn", "TargetIn", "RetryIn", "MisfireIn", "CronIn", "PreviewIn", "TriggerIn"):
        assert found[name]["additionalProperties"] is False


class TestPage:
    async def test_everything_it_loads_is_served_here(self, shared: Api) -> None:
        page = await shared.ask("GET", "/api/docs")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        loads = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(loads) == 4
        for path in loads:
            assert not path.startswith(("http", "//"))
            assert (await shared.ask("GET", f"/api/{path}")).content
        assert "<script>" not in page.text  # the policy forbids it

    async def test_it_asks_no_other_host(self, shared: Api) -> None:
        script = (await shared.ask("GET", "/api/docs/start.js")).text
        assert "validatorUrl: null" in script
        assert "http" not in script
        styles = (await shared.ask("GET", "/api/docs/swagger-ui.css")).text
        assert not re.search(r"url\(['\"]?https?:", styles)

    async def test_it_shows_the_document(self, shared: Api) -> None:
        shown = await shared.get("/api/docs/openapi.json")
        document = await shared.get(DOCUMENT)
        assert shown["paths"] == document["paths"]

    @pytest.mark.parametrize("name", ["x.js", "..%2F..%2Fetc%2Fpasswd", "index.html"])
    async def test_nothing_else_is_served(self, shared: Api, name: str) -> None:
        await shared.ask("GET", f"/api/docs/{name}", status=404)
