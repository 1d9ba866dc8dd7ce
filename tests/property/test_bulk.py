"""A job of a batch is what it would be alone, and is refused for the same reasons."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.build import NOW
from tests.support.scale import SCALE
from tests.support.strategies import json_values, texts
from tocsin.domain.egress import EgressRules
from tocsin.domain.errors import FieldProblem, InvalidInput
from tocsin.services import lifecycle
from tocsin.services.bulk import BulkReader
from tocsin.services.definitions import JobDefaults, read_definition
from tocsin.store.port import NewJob

DEFAULTS = JobDefaults(why_never=EgressRules.read(allow="127.0.0.1:9").why_never)

# A few values of each field, so that jobs share them: sound ones, and some that are not.
schedules = st.sampled_from(
    [
        {"at": "2026-12-24T18:00:00Z"},
        {"at": "2026-12-24T18:00:30.5+01:00"},
        {"at": "2026-12-24T18:00:00Z", "timezone": "Europe/Berlin"},
        {"at": "2026-12-24T18:00:00Z", "starts_at": "1970-01-01T00:00:00Z"},
        {"at": "2020-01-01T00:00:00Z"},
        {"at": "soon"},
        {"at": 7},
        {"cron": "*/5 * * * *"},
        {"cron": "0 2 * * *", "timezone": "Europe/Berlin", "jitter": "5m"},
        {"cron": "0 0 31 2 *"},
        {"cron": "0 2 * * *", "ends_at": "2020-01-01T00:00:00Z"},
        {"every": "15m"},
        {"every": 900},
        {"every": True},
        {"every": "15m", "anchor": "2026-01-01T00:00:00Z", "at": None},
        {"every": "15m", "cron": "* * * * *"},
        {},
        None,
        "* * * * *",
    ]
)
names = st.sampled_from(
    [
        None,
        "a",
        "b.c-d_1",
        "A",
        "",
        "x" * 100,
        "x" * 101,
        5,
        "a\n",
        "01890a5d-ac96-774b-bcce-b302099a8057",
    ]
)
urls = st.sampled_from(
    [
        "https://example.com/hook",
        "http://127.0.0.1:9/{{ job_name }}?a=b&ü",
        "https://example.com/{{ nothing }}",
        "http://127.0.0.1:10/",
        "https://0x7f.1/{{ secret.A }}",
        "https://example.com/{{ secret.A }}",
        "ftp://example.com",
        "https://user@example.com/",
        "https://example.com/" + "x" * 8_192,
        "",
        None,
        5,
    ]
)
bodies = (
    st.sampled_from(
        [None, {"customer": 1}, {"customer": 1.0}, [True], "{{ fire_time }}", "{{ secret.A }}"]
    )
    | st.sampled_from(["{{ nothing }}", {"a": "{{"}, "x" * 300_000])
    | json_values
)
targets = st.one_of(
    st.fixed_dictionaries(
        {"url": urls},
        optional={
            "body": bodies,
            "method": st.sampled_from([None, "post", "GET", "CONNECT", "a b"]),
            "headers": st.sampled_from([None, {}, {"X-A": "b"}, {"Host": "a"}, {"X-A": 1}]),
            "timeout": st.sampled_from([None, "30s", 30, 30.0, True, "1d", "2d"]),
            "redirects": st.sampled_from([None, 0, 1, True, 1.0, 11]),
            "body_text": st.sampled_from([None, "x", ""]),
            "auth": st.sampled_from(
                [
                    None,
                    {},
                    {"type": "bearer", "token": "{{ secret.A }}"},
                    {"type": "bearer", "token": "plain"},
                    {"type": "basic", "username": "a", "password": "{{ secret.B }}"},
                    {"type": "oauth"},
                ]
            ),
            "signing": st.sampled_from([None, {"secret": "A"}, {"secret": "a b"}, {}]),
            "log": st.sampled_from([None, "x"]),
            "other": st.just(1),
        },
    ),
    st.sampled_from([{"log": "hello"}, {}, None, [], "https://example.com"]),
)
metadata = st.sampled_from(
    [None, {}, {"a": 1}, {"a": 1.0}, {"a": True}, [], 5, {"a": "x" * 20_000}]
)
jobs = st.fixed_dictionaries(
    {"schedule": schedules, "target": targets},
    optional={
        "name": names,
        "description": st.sampled_from([None, "", "d", "x" * 2_001, 5, "é\x01"]) | texts,
        "metadata": metadata | st.dictionaries(texts, json_values, max_size=2),
        "retry": st.sampled_from(
            [
                None,
                {},
                {"max_attempts": 5},
                {"factor": 1},
                {"factor": 1.0},
                {"max_attempts": True},
                {"on": ["6xx"]},
                {"initial": "2d"},
            ]
        ),
        "misfire": st.sampled_from(
            [None, {"grace": "7d"}, {"policy": "all", "max": 3}, {"max": 0}]
        ),
        "overlap": st.sampled_from([None, "skip", "never"]),
        "delivery": st.sampled_from([None, "at_most_once", 5]),
        "success": st.sampled_from([None, ["2xx"], [], ["abc"]]),
        "tags": st.sampled_from([None, [], ["a"], ["a", "a", "b"], ["a,b"], [5]]),
        "id": st.just("x"),
        "nam": st.just("x"),
    },
)


def alone(data: object) -> NewJob | tuple[FieldProblem, ...]:
    try:
        definition = read_definition(data, defaults=DEFAULTS, now=NOW)
        return lifecycle.created(definition, job_id="id", namespace="default", now=NOW)
    except InvalidInput as error:
        return error.problems


def in_bulk(reader: BulkReader, data: object) -> NewJob | tuple[FieldProblem, ...]:
    try:
        fresh = reader.read(data)
    except InvalidInput as error:
        return error.problems
    described = fresh.new.job.spec.schedule.describe()
    assert fresh.described == orjson.dumps(described).decode()
    return fresh.new


@given(some=st.lists(jobs | st.sampled_from([None, [], "x", {}]), min_size=1, max_size=8))
@settings(max_examples=round(300 * SCALE), deadline=None)
def test_a_batch_says_what_each_job_alone_says(some: list[Any]) -> None:
    reader = BulkReader(defaults=DEFAULTS, now=NOW, namespace="default", new_id=lambda: "id")
    # Twice, so that everything that can be known is known by then.
    for data in [*some, *some]:
        assert repr(in_bulk(reader, data)) == repr(alone(data))


def test_what_jobs_share_is_looked_at_once(monkeypatch: Any) -> None:
    looked_at = 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal looked_at
        looked_at += 1
        return read_definition(*args, **options)

    monkeypatch.setattr("tocsin.services.bulk.read_definition", counted)
    reader = BulkReader(defaults=DEFAULTS, now=NOW, namespace="default", new_id=lambda: "id")
    for number in range(100):
        reader.read(
            {
                "name": f"job-{number}",
                "description": f"number {number}",
                "schedule": {"at": f"2026-12-24T18:{number % 60:02}:00Z"},
                "target": {"url": f"https://example.com/{number}", "body": {"number": number}},
                "metadata": {"number": number},
                "retry": {"max_attempts": 5},
                "tags": ["a"],
            }
        )
    assert looked_at == 1
