"""Definitions and attempts as JSON: nothing is lost on the way, and the shape is the API's."""

import json
from dataclasses import fields

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.build import NOW, attempt, cron, every, spec
from tests.support.scale import examples
from tests.support.strategies import attempts, specs

from tocsin.domain.codec import (
    SPEC_START,
    attempts_from_json,
    attempts_to_json,
    spec_from_json,
    spec_text,
    spec_to_json,
)
from tocsin.domain.codes import CodeRule
from tocsin.domain.execution import Attempt, ErrorKind, ResponseExcerpt, Timings
from tocsin.domain.job import BodyKind, HttpTarget, JobSpec, LogTarget, Misfire, MisfirePolicy
from tocsin.domain.retry import RetryPolicy


@given(specs)
@examples(200)
def test_a_definition_survives_the_way_through_json(definition: JobSpec) -> None:
    assert spec_from_json(orjson.loads(orjson.dumps(spec_to_json(definition)))) == definition


@given(specs)
@examples(50)
def test_a_definition_read_back_is_written_the_same(definition: JobSpec) -> None:
    written = spec_to_json(definition)
    assert spec_to_json(spec_from_json(written)) == written


@given(specs)
@examples(50)
def test_the_text_of_a_definition_begins_with_its_schedule(definition: JobSpec) -> None:
    text = spec_text(definition)
    assert text.startswith(SPEC_START)
    assert orjson.loads(text) == orjson.loads(orjson.dumps(spec_to_json(definition)))


@given(st.lists(attempts, max_size=3))
@examples(200)
def test_attempts_survive_the_way_through_json(some: list[Attempt]) -> None:
    assert attempts_from_json(orjson.loads(orjson.dumps(attempts_to_json(some)))) == tuple(some)


def test_a_definition_has_the_shape_of_the_api() -> None:
    """The example of the design."""
    definition = JobSpec(
        description="Sends the report",
        schedule=cron("0 2 * * *", "Europe/Berlin"),
        target=HttpTarget(
            url="https://example.com/hook",
            headers=(("X-Team", "ops"),),
            body_kind=BodyKind.JSON,
            body={"any": "json"},
        ),
        misfire=Misfire(policy=MisfirePolicy.LATEST, grace=60_000),
        tags=("reports",),
    )
    assert spec_to_json(definition) == {
        "description": "Sends the report",
        "schedule": {
            "cron": "0 2 * * *",
            "timezone": "Europe/Berlin",
            "starts_at": None,
            "ends_at": None,
            "jitter": "0s",
        },
        "target": {
            "url": "https://example.com/hook",
            "method": "POST",
            "headers": {"X-Team": "ops"},
            "body": {"any": "json"},
            "timeout": "30s",
            "redirects": 0,
        },
        "retry": {
            "max_attempts": 3,
            "initial": "1s",
            "factor": 2.0,
            "max": "5m",
            "jitter": 0.1,
            "on": ["connection", "dns", "timeout", "408", "425", "429", "5xx"],
        },
        "misfire": {"policy": "latest", "grace": "1m", "max": 100},
        "overlap": "allow",
        "delivery": "at_least_once",
        "success": ["2xx"],
        "tags": ["reports"],
        "metadata": {},
    }


def test_every_field_of_a_definition_is_written() -> None:
    assert set(spec_to_json(spec())) == {field.name for field in fields(JobSpec)}


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (BodyKind.JSON, None, "body"),
        (BodyKind.JSON, [1, {"two": 2.5}], "body"),
        (BodyKind.TEXT, "", "body_text"),
        (BodyKind.BASE64, "aGVsbG8=", "body_base64"),
    ],
)
def test_each_kind_of_body_has_its_own_field_also_where_it_is_empty(
    kind: BodyKind, body: object, field: str
) -> None:
    target = HttpTarget(url="https://example.com", body_kind=kind, body=body)  # type: ignore[arg-type]
    written = spec_to_json(spec(target=target))["target"]
    assert written[field] == body
    assert [name for name in written if name.startswith("body")] == [field]
    assert spec_from_json(spec_to_json(spec(target=target))).target == target


def test_a_target_without_a_body_has_no_such_field() -> None:
    written = spec_to_json(spec(target=HttpTarget(url="https://example.com")))["target"]
    assert not any(name.startswith("body") for name in written)


def test_a_log_target_is_its_text() -> None:
    assert spec_to_json(spec(target=LogTarget(text="tick")))["target"] == {"log": "tick"}


def test_the_order_of_headers_is_kept() -> None:
    headers = (("Z", "1"), ("A", "2"), ("M", "3"))
    definition = spec(target=HttpTarget(url="https://example.com", headers=headers))
    read = spec_from_json(json.loads(json.dumps(spec_to_json(definition))))
    assert read.target == definition.target


def test_a_definition_that_was_read_back_decides_the_same() -> None:
    definition = spec(
        every(7_000, jitter=500),
        retry=RetryPolicy(on=("tls", "404")),
        success=CodeRule(["2xx", "304"]),
    )
    read = spec_from_json(spec_to_json(definition))
    assert read.schedule.next_after(NOW) == definition.schedule.next_after(NOW)
    assert read.schedule.due(NOW, "x") == definition.schedule.due(NOW, "x")
    assert read.retry.retries("http_status", 404)
    assert read.retry.delay(2, execution_id="x") == definition.retry.delay(2, execution_id="x")
    assert 304 in read.success
    assert read.lane == definition.lane


def test_an_attempt_has_the_shape_of_the_api() -> None:
    one = attempt(
        2,
        http_status=503,
        error_kind=ErrorKind.HTTP_STATUS,
        error="answered 503",
        timings=Timings(dns_ms=0.5, total_ms=12.5),
        response=ResponseExcerpt(excerpt="busy", truncated=False),
    )
    assert json.loads(orjson.dumps(attempts_to_json([one]))) == [
        {
            "number": 2,
            "started_at": "2026-01-01T00:00:00Z",
            "duration_ms": 12.5,
            "http_status": 503,
            "error_kind": "http_status",
            "error": "answered 503",
            "node": "node-a",
            "timings": {
                "dns_ms": 0.5,
                "connect_ms": None,
                "tls_ms": None,
                "first_byte_ms": None,
                "total_ms": 12.5,
            },
            "response": {"excerpt": "busy", "truncated": False},
        }
    ]


def test_only_a_call_through_a_proxy_tells_how_long_that_took() -> None:
    timings = Timings(connect_ms=0.5, proxy_ms=7.25, total_ms=12.5)
    one = attempt(1, timings=timings)
    [told] = json.loads(orjson.dumps(attempts_to_json([one])))
    assert told["timings"]["proxy_ms"] == 7.25
    [read] = attempts_from_json([told])
    assert read.timings == timings
