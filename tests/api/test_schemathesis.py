"""The OpenAPI document held against the API: no 5xx, no answer that is not described.

Each operation is asked what its description allows and what it forbids, with made-up references
and with those of things that are there. The seed is fixed, so a failure replays.
"""

import asyncio
import copy
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ensure_resource_availability,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from tests.api.access import ADMIN, make_guarded
from tests.api.harness import EXECUTIONS, JOBS, KEYS
from tests.support import build
from tests.support.memory_store import MemoryStore
from tocsin.api.openapi import document
from tocsin.domain.secrets import SIGNING

EXAMPLES = 5
"""Per operation and kind of reference; in all about 20 s of one core."""

CONFORM = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CHECKS = [
    not_a_server_error,
    *CONFORM,
    negative_data_rejection,
    missing_required_header,
    unsupported_method,
    allow_header_conformance,
    use_after_free,
    ensure_resource_availability,
]
# Left out: positive_data_acceptance. That `a` is no cron expression, no schema can say.


async def _new_ref(path: str) -> str:
    """The reference of something new that an operation with this path can succeed with."""
    if path.startswith(KEYS):
        answer = await API.ask("POST", KEYS, status=201, json={"name": "k", "role": "viewer"})
        return str(answer.json()["id"])
    job = await API.create()
    ref: str = job["id"]
    if path.endswith("/resume"):
        await API.ask("POST", f"{JOBS}/{ref}/pause")
    if path.startswith(EXECUTIONS):
        answer = await API.ask("POST", f"{JOBS}/{ref}/trigger", status=202)
        ref = answer.json()["id"]
        if not path.endswith("/cancel"):
            await API.run()
    return ref


GUARDED = make_guarded(MemoryStore(), demo=True, attempt=build.attempt())
API = GUARDED.api
APP = API.client._transport.app  # type: ignore[attr-defined]  # httpx keeps it there
REFUSED = [400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 429]
KEY = {"Authorization": f"Bearer {ADMIN}"}

asyncio.run(GUARDED.begin())


def _schema(*, coverage: bool) -> Any:
    """The document; with ``coverage`` each bound of each field is tried as well."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 4711,
            "phases": {"coverage": {"enabled": coverage}},
            "checks": {"negative_data_rejection": {"expected-statuses": REFUSED}},
        }
    )
    found = copy.deepcopy(document(APP))
    # Of lines it can only make texts; what becomes of those is tested elsewhere.
    del found["paths"][f"{JOBS}:batch"]["post"]["requestBody"]["content"]["application/x-ndjson"]
    schema = schemathesis.openapi.from_dict(found, config=config)
    schema.app, schema.location = APP, "/api/openapi.json"
    return schema.exclude(
        # One does not end, the other answers 503 where it is asked to; both are tested elsewhere.
        path=["/api/v1/events", "/api/v1/demo/echo"]
    )


SCHEMA = _schema(coverage=True)
FUZZED = _schema(coverage=False)
FEW = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@SCHEMA.parametrize()
@FEW
def test_with_made_up_references(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS, headers=KEY)


@SCHEMA.parametrize()
@FEW
def test_without_a_key(case: schemathesis.Case) -> None:
    """Whatever is sent, it is refused before anything of it is looked at."""
    if case.operation.definition.raw["security"]:
        GUARDED.watch.now += 60  # or it would be taken for guessing
        case.headers = {
            name: value
            for name, value in (case.headers or {}).items()
            if name.lower() not in {"authorization", "x-api-key", "cookie"}
        }
        case.cookies = {}
        state = API.store.state  # type: ignore[attr-defined]
        before = [len(table) for table in (state.jobs, state.executions, state.keys, state.audit)]
        answer = case.call_and_validate(checks=[not_a_server_error, *CONFORM])
        # A reference with a slash in it leads nowhere, and a made-up method to no route.
        assert answer.status_code in {401, 404, 405}, answer.text
        after = [len(table) for table in (state.jobs, state.executions, state.keys, state.audit)]
        assert after == before


@FUZZED.include(path_regex=r"\{ref\}").parametrize()
@FEW
def test_with_references_to_what_is_there(case: schemathesis.Case) -> None:
    case.path_parameters["ref"] = asyncio.run(_new_ref(case.path))
    # What was wrong with the reference is mended, and keys have no form.
    wrong = {
        place
        for place, component in (case.meta.components if case.meta else {}).items()
        if component.mode is GenerationMode.NEGATIVE
    }
    checks = CHECKS
    if not wrong & {ParameterLocation.QUERY, ParameterLocation.BODY}:
        checks = [check for check in CHECKS if check is not negative_data_rejection]
    case.call_and_validate(checks=checks, headers=KEY)


def test_every_operation_succeeds_with_its_example() -> None:
    """A guard against a run in which everything was refused at the door."""
    for found in FUZZED.get_all_operations():
        operation = found.ok()
        body: dict[str, Any] = {}
        for media_type, content in (
            operation.definition.raw.get("requestBody", {}).get("content", {}).items()
        ):
            body = {"body": content["example"], "media_type": media_type}
        if operation.path == "/api/v1/session" and body:
            body["body"] = {"key": ADMIN}
        case = operation.Case(**body)
        if "{ref}" in operation.path:
            case.path_parameters["ref"] = asyncio.run(_new_ref(operation.path))
        if "{name}" in operation.path:
            case.path_parameters["name"] = "TOKEN"  # which the operation before has set
        if operation.path.endswith(":reveal"):
            asyncio.run(API.store.delete_secret("default", SIGNING))  # it is shown once only
        answer = case.call_and_validate(checks=CHECKS, headers=KEY)
        assert answer.status_code < 300, f"{operation.label}: {answer.text}"


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
