"""Definitions and attempts as JSON values, in the shape that the API shows and the store keeps.

Reading trusts its input: it was written by ``*_to_json``. Whatever people send is checked by the
API before it gets here.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, assert_never

import orjson

from tocsin.domain.codes import CodeRule
from tocsin.domain.duration import format_duration, parse_duration
from tocsin.domain.execution import Attempt, ErrorKind, ResponseExcerpt, Timings
from tocsin.domain.instant import format_instant, parse_instant
from tocsin.domain.job import (
    BasicAuth,
    BearerAuth,
    BodyKind,
    DeliveryMode,
    HttpTarget,
    JobSpec,
    Json,
    LogTarget,
    Misfire,
    MisfirePolicy,
    Overlap,
    Target,
    TargetAuth,
)
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.schedule import schedule_from_json

BODY_FIELDS = {
    BodyKind.JSON: "body",
    BodyKind.TEXT: "body_text",
    BodyKind.BASE64: "body_base64",
}
"""The field of a target that holds each kind of body."""

SPEC_START: Final = '{"schedule":{'
"""How the text of a definition begins, so that whoever shows it can add to the schedule."""


def json_text(value: Any) -> str:
    """JSON that every database can store as text.

    orjson refuses integers beyond 64 bits and lone surrogates. Both are legal in JSON; the
    standard library writes the latter as escapes, that is as plain ASCII.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, separators=(",", ":"))


def spec_text(spec: JobSpec) -> str:
    """``spec_to_json`` as text; begins with ``SPEC_START``."""
    return json_text(spec_to_json(spec))


def spec_to_json(spec: JobSpec) -> dict[str, Any]:
    """A definition in the shape of the API, every default written out."""
    return {
        "schedule": spec.schedule.to_json(),
        "description": spec.description,
        "target": _target_to_json(spec.target),
        "retry": {
            "max_attempts": spec.retry.max_attempts,
            "initial": format_duration(spec.retry.initial),
            "factor": spec.retry.factor,
            "max": format_duration(spec.retry.max),
            "jitter": spec.retry.jitter,
            "on": list(spec.retry.on),
        },
        "misfire": {
            "policy": spec.misfire.policy.value,
            "grace": None if spec.misfire.grace is None else format_duration(spec.misfire.grace),
            "max": spec.misfire.max,
        },
        "overlap": spec.overlap.value,
        "delivery": spec.delivery.value,
        "success": list(spec.success.tokens),
        "tags": list(spec.tags),
        "metadata": dict(spec.metadata),
    }


def spec_from_json(data: Mapping[str, Any]) -> JobSpec:
    """The reverse of ``spec_to_json``."""
    retry, misfire = data["retry"], data["misfire"]
    return JobSpec(
        description=data["description"],
        schedule=schedule_from_json(data["schedule"]),
        target=_target_from_json(data["target"]),
        retry=_retry_of(
            retry["max_attempts"],
            retry["initial"],
            retry["factor"],
            retry["max"],
            retry["jitter"],
            tuple(retry["on"]),
        ),
        misfire=_misfire_of(misfire["policy"], misfire["grace"], misfire["max"]),
        overlap=_OVERLAPS[data["overlap"]],
        delivery=_DELIVERIES[data["delivery"]],
        success=_rule_of(tuple(data["success"])),
        tags=tuple(data["tags"]),
        metadata=data["metadata"],
    )


# Millions of jobs share a handful of policies, and a node decodes each job that it has not created.


@lru_cache(maxsize=1_024, typed=True)
def _retry_of(*fields: Any) -> RetryPolicy:
    max_attempts, initial, factor, longest, jitter, on = fields
    return RetryPolicy(
        max_attempts=max_attempts,
        initial=parse_duration(initial),
        factor=factor,
        max=parse_duration(longest),
        jitter=jitter,
        on=on,
    )


_rule_of = lru_cache(maxsize=1_024)(CodeRule)
_duration_of = lru_cache(maxsize=1_024, typed=True)(parse_duration)
_OVERLAPS = {overlap.value: overlap for overlap in Overlap}
_DELIVERIES = {delivery.value: delivery for delivery in DeliveryMode}


@lru_cache(maxsize=1_024, typed=True)
def _misfire_of(policy: str, grace: str | None, most: int) -> Misfire:
    return Misfire(
        policy=MisfirePolicy(policy),
        grace=None if grace is None else parse_duration(grace),
        max=most,
    )


def _target_to_json(target: Target) -> dict[str, Any]:
    match target:
        case LogTarget():
            return {"log": target.text}
        case HttpTarget():
            shown: dict[str, Any] = {
                "url": target.url,
                "method": target.method,
                "headers": dict(target.headers),
                "timeout": format_duration(target.timeout),
                "redirects": target.redirects,
            }
            if target.auth is not None:
                shown["auth"] = _auth_to_json(target.auth)
            if target.signing is not None:
                shown["signing"] = {"secret": target.signing}
            if target.body_kind is not BodyKind.NONE:
                shown[BODY_FIELDS[target.body_kind]] = target.body
            return shown
    assert_never(target)


def _auth_to_json(auth: TargetAuth) -> dict[str, Any]:
    match auth:
        case BasicAuth():
            return {"type": "basic", "username": auth.username, "password": auth.password}
        case BearerAuth():
            return {"type": "bearer", "token": auth.token}
    assert_never(auth)


def _auth_from_json(data: Mapping[str, Any] | None) -> TargetAuth | None:
    if data is None:
        return None
    if data["type"] == "basic":
        return BasicAuth(username=data["username"], password=data["password"])
    return BearerAuth(token=data["token"])


def _target_from_json(data: Mapping[str, Any]) -> Target:
    if "log" in data:
        return LogTarget(text=data["log"])
    kind, body = BodyKind.NONE, None
    for candidate, name in BODY_FIELDS.items():
        if name in data:
            kind, body = candidate, data[name]
    return HttpTarget(
        url=data["url"],
        method=data["method"],
        headers=tuple(data["headers"].items()),
        body_kind=kind,
        body=body,
        timeout=_duration_of(data["timeout"]),
        redirects=data["redirects"],
        auth=_auth_from_json(data.get("auth")),
        signing=None if data.get("signing") is None else data["signing"]["secret"],
    )


def attempts_to_json(attempts: Sequence[Attempt]) -> list[Json]:
    """Attempts in the shape of the API."""
    return [_attempt_to_json(attempt) for attempt in attempts]


def _attempt_to_json(attempt: Attempt) -> Json:
    timings, response = attempt.timings, attempt.response
    # Only where there was one: it is stored with each attempt, and nodes of before do not know it.
    proxied = {} if timings is None or timings.proxy_ms is None else {"proxy_ms": timings.proxy_ms}
    return {
        "number": attempt.number,
        "started_at": format_instant(attempt.started_at),
        "duration_ms": attempt.duration_ms,
        "http_status": attempt.http_status,
        "error_kind": attempt.error_kind,
        "error": attempt.error,
        "node": attempt.node,
        "timings": None
        if timings is None
        else {
            "dns_ms": timings.dns_ms,
            "connect_ms": timings.connect_ms,
            **proxied,
            "tls_ms": timings.tls_ms,
            "first_byte_ms": timings.first_byte_ms,
            "total_ms": timings.total_ms,
        },
        "response": None
        if response is None
        else {"excerpt": response.excerpt, "truncated": response.truncated},
    }


def attempts_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[Attempt, ...]:
    """The reverse of ``attempts_to_json``."""
    return tuple(
        Attempt(
            number=item["number"],
            started_at=parse_instant(item["started_at"]),
            duration_ms=item["duration_ms"],
            http_status=item["http_status"],
            error_kind=None if item["error_kind"] is None else ErrorKind(item["error_kind"]),
            error=item["error"],
            node=item["node"],
            timings=None if item["timings"] is None else Timings(**item["timings"]),
            response=None if item["response"] is None else ResponseExcerpt(**item["response"]),
        )
        for item in data
    )
