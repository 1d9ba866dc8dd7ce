"""The OpenAPI document: FastAPI's, with shapes and problems by reference."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from tocsin.api import access_schemas, cluster, insights, job_lines, schemas, secrets
from tocsin.api.auth import COOKIE
from tocsin.api.needs import Need, need_of
from tocsin.api.problems import MEDIA_TYPE
from tocsin.services import key_shapes, shapes

NDJSON = "application/x-ndjson"
"""JSON, a value on each line."""

_REF = "#/components/schemas/{model}"

_INPUTS: tuple[Any, ...] = (
    shapes.JobIn,
    shapes.JobPatch,
    shapes.BatchIn,
    shapes.TriggerIn,
    shapes.PreviewIn,
    key_shapes.KeyIn,
    key_shapes.RotateIn,
    key_shapes.SignInIn,
    shapes.SecretIn,
    shapes.RotationIn,
)
_OUTPUTS: tuple[Any, ...] = (
    schemas.Problem,
    schemas.JobOut,
    schemas.JobPage,
    schemas.JobBatchOut,
    job_lines.JobLineOut,
    schemas.JobStatusOut,
    schemas.JobStatsOut,
    schemas.ExecutionOut,
    schemas.ExecutionPage,
    schemas.PreviewOut,
    schemas.StatsOut,
    cluster.ClusterOut,
    insights.RecentOut,
    insights.CalendarOut,
    insights.TimelineOut,
    insights.TrialOut,
    insights.SentOut,
    schemas.HealthOut,
    schemas.ReadyOut,
    schemas.EchoOut,
    access_schemas.KeyOut,
    access_schemas.KeyCreatedOut,
    access_schemas.KeyPage,
    access_schemas.SessionOut,
    access_schemas.NamespacePage,
    access_schemas.AuditPage,
    secrets.SecretOut,
    secrets.SecretPage,
    secrets.RekeyOut,
    secrets.SigningOut,
    secrets.SigningKeyOut,
)

_PROBLEMS = {
    400: "The body is not JSON",
    401: "A key is needed, and one that works",
    403: "The key may not do that",
    404: "There is no such thing",
    409: "The present state forbids it",
    412: "The condition of If-Match or If-None-Match does not hold",
    413: "The body is too large",
    415: "The body is of an unknown kind",
    422: "The request is not valid; `errors` names each offending field",
    429: "Too many requests; `Retry-After` says when to try again",
    503: "The store does not answer; try again",
    507: "A limit is reached, or the disk is full",
}

_JOB = {
    "schedule": {"cron": "0 2 * * *", "timezone": "Europe/Berlin"},
    "target": {
        "url": "https://example.com/hook",
        "headers": {"X-Team": "ops"},
        "body": {"report": "nightly", "fire_time": "{{ fire_time }}"},
    },
    "retry": {"max_attempts": 5},
    "tags": ["reports"],
}
_EXAMPLES: Mapping[str, Any] = {
    "JobIn": _JOB,
    "JobPatch": {"schedule": {"every": "15m"}, "tags": ["reports", "often"]},
    "BatchIn": {"jobs": [_JOB, {"schedule": {"every": "15m"}, "target": {"log": "tick"}}]},
    "TriggerIn": {"body": {"report": "by hand"}},
    "PreviewIn": {"schedule": {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}, "count": 5},
    "KeyIn": {"name": "ci", "role": "editor", "expires_in": "90d"},
    "RotateIn": {"overlap": "24h"},
    "SignInIn": {"key": "tcs_k3v9x2ab_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"},
    "SecretIn": {"value": "correct horse battery staple"},
    "RotationIn": {"overlap": "24h"},
    "ClusterOut": cluster.EXAMPLE,
    "JobLineOut": job_lines.JOB_LINES,
}
"""For people to start from, and for schemathesis to get in with."""

ETAG: Mapping[str, Any] = {
    "ETag": {"description": "The job's version, quoted", "schema": {"type": "string"}}
}
REPLAYED: Mapping[str, Any] = {
    "Idempotency-Replayed": {
        "description": "`true` where an earlier request had this Idempotency-Key: nothing was done",
        "schema": {"type": "string"},
    }
}


def ref(name: str) -> dict[str, str]:
    """A reference to one of the shapes."""
    return {"$ref": _REF.format(model=name)}


def answers(
    status: int,
    shape: str | None,
    description: str,
    *problems: int,
    headers: Mapping[str, Any] | None = None,
    also: Mapping[int, str] | None = None,
) -> dict[int | str, dict[str, Any]]:
    """What a route answers: one success, and problems by status.

    ``also`` are further statuses with the same shape. Each route may answer 422 (a parameter that
    it does not know), and 500 and 503.
    """
    found: dict[int | str, dict[str, Any]] = {}
    for code, text in {status: description, **(also or {})}.items():
        found[code] = {"description": text}
        if shape is not None:
            content: dict[str, Any] = {"schema": ref(shape)}
            if shape in _EXAMPLES:
                content["example"] = _EXAMPLES[shape]
            found[code]["content"] = {"application/json": content}
        if headers:
            found[code]["headers"] = dict(headers)
    for code in sorted({*problems, 422, 429, 503} - {status}):
        found[code] = {
            "description": _PROBLEMS[code],
            "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
        }
    return found


def takes(
    shape: str | None = None,
    *,
    required: bool = True,
    media: Sequence[str] = ("application/json",),
    headers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What a route is sent besides its path and query: a body, and headers."""
    extra: dict[str, Any] = {}
    if shape is not None:
        content = {"schema": ref(shape), "example": _EXAMPLES[shape]}
        extra["requestBody"] = {
            "required": required,
            "content": dict.fromkeys(media, content),
        }
    if headers:
        extra["parameters"] = [dict(one) for one in headers]
    return extra


def header(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """An optional request header."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": dict(schema),
    }


def or_lines(extra: Mapping[str, Any], shape: str, description: str) -> dict[str, Any]:
    """The same, or a value of this shape on each line."""
    lines = "\n".join(orjson.dumps(_EXAMPLES[shape]).decode() for _ in range(2)) + "\n"
    content = {"schema": {"type": "string", "description": description}, "example": lines}
    body = extra["requestBody"]
    return {
        **extra,
        "requestBody": {**body, "content": {**body["content"], NDJSON: content}},
    }


def lines_of(shape: str, description: str) -> dict[int | str, dict[str, Any]]:
    """An answer of lines, each of this shape; OpenAPI 3.1 cannot say so of its schema."""
    schema = {"type": "string", "description": f"Lines, each a `{shape}`"}
    lines = b"\n".join(map(orjson.dumps, _EXAMPLES[shape])).decode() + "\n"
    return {
        200: {
            "description": description,
            "content": {NDJSON: {"schema": schema, "example": lines}},
        }
    }


IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    "The same key with the same body is answered the same and done once, for 24 hours.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
)
PREFER = header(
    "Prefer",
    "`return=minimal`: of lines, only those that were refused are answered, and the last line is.",
    {"type": "string"},
)
IF_MATCH = header(
    "If-Match",
    'Only if the job still has this version, as `"3"`; `*`: any.',
    {"type": "string", "maxLength": 1_000},
)
IF_NONE_MATCH = header(
    "If-None-Match", "`*`: only if there is no such job.", {"type": "string", "const": "*"}
)
LAST_EVENT_ID = header(
    "Last-Event-ID",
    "Go on after this event.",
    {"type": "string", "maxLength": 100},
)


CSRF = header(
    "Tocsin-CSRF",
    "The `csrf_token` of the session; every change that is made with a session needs it.",
    {"type": "string"},
)
NAMESPACE = header(
    "Tocsin-Namespace",
    "The namespace that the request is about (also as the parameter `namespace`); by default that "
    "of the key, and `default` for keys that hold in all.",
    {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"},
)

SECURITY: Mapping[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`tcs_…`"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
}


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once and kept."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version=app.openapi_version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        components = made.setdefault("components", {})
        components["schemas"] = components.get("schemas", {}) | _shapes()
        components["securitySchemes"] = dict(SECURITY)
        for route in app.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    _add_need(made["paths"][route.path][method.lower()], need_of(route.endpoint))
        app.openapi_schema = made
    return app.openapi_schema


def _add_need(operation: dict[str, Any], need: Need) -> None:
    """Tell what a route needs of who calls it, and what it answers to others."""
    if need.public:
        operation["security"] = []
        return
    operation["security"] = [{name: []} for name in SECURITY]
    problems = [401, 403, 429]
    if need.namespaced:
        operation.setdefault("parameters", []).append(dict(NAMESPACE))
        problems.append(404)
    for code in problems:
        operation["responses"].setdefault(
            str(code),
            {
                "description": _PROBLEMS[code],
                "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
            },
        )


def _shapes() -> dict[str, Any]:
    adapters: list[tuple[str, Any, TypeAdapter[Any]]] = [
        (shape.__name__, mode, TypeAdapter(shape))
        for mode, group in (("validation", _INPUTS), ("serialization", _OUTPUTS))
        for shape in group
    ]
    _, definitions = TypeAdapter.json_schemas(adapters, ref_template=_REF)
    found: dict[str, Any] = _with_references(definitions["$defs"])
    return found | shapes.SCHEDULE_SCHEMAS


def _with_references(value: Any) -> Any:
    """The same with the schemas that are written by hand referred to, by their title."""
    if isinstance(value, list):
        return [_with_references(item) for item in value]
    if not isinstance(value, dict):
        return value
    title = value.get("title")  # or a property of that name
    if isinstance(title, str) and title in shapes.SCHEDULE_SCHEMAS:
        return ref(title)
    return {name: _with_references(item) for name, item in value.items()}
