"""What is refused, and what is said about it."""

from typing import Any

import pytest

from tests.api.harness import JOB, JOBS, Api, make_api
from tests.support.memory_store import MemoryStore

URL = "https://example.com/hook"


@pytest.fixture(scope="module")
def shared() -> Api:
    """One API for all: nothing is kept of what is refused, and the rest is deleted again."""
    return make_api(MemoryStore())


def target(**fields: Any) -> dict[str, Any]:
    return {"target": {"url": URL, **fields}}


def headers(**given: Any) -> dict[str, Any]:
    return target(headers={name.replace("_", "-"): value for name, value in given.items()})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


REFUSED: list[tuple[dict[str, Any], tuple[str, str]]] = [
    # --- what is there and what is not
    ({"schedule": None}, ("schedule", "type")),
    ({"target": None}, ("target", "type")),
    ({"schedule": "0 2 * * *"}, ("schedule", "type")),
    ({"schedule": {}}, ("schedule", "one_of")),
    ({"schedule": {"cron": "* * * * *", "every": "1m"}}, ("schedule", "one_of")),
    ({"schedule": {"every": "1m", "jiter": 0}}, ("schedule.jiter", "unknown_field")),
    ({"nme": "x"}, ("nme", "unknown_field")),
    ({"id": "x"}, ("id", "read_only")),
    ({"retry": {"max_attempt": 1}}, ("retry.max_attempt", "unknown_field")),
    ({"misfire": {"polcy": "all"}}, ("misfire.polcy", "unknown_field")),
    (target(headrs={}), ("target.headrs", "unknown_field")),
    # --- names, words and numbers
    ({"name": ""}, ("name", "pattern")),
    ({"name": "Report"}, ("name", "pattern")),
    ({"name": "-report"}, ("name", "pattern")),
    ({"name": "réport"}, ("name", "pattern")),
    ({"name": "a b"}, ("name", "pattern")),
    ({"name": "a\n"}, ("name", "pattern")),
    ({"name": "x" * 101}, ("name", "too_long")),
    ({"name": 5}, ("name", "type")),
    ({"name": "019b5144-0000-7abc-8def-0123456789ab"}, ("name", "pattern")),
    ({"description": "x" * 2_001}, ("description", "too_long")),
    ({"description": "a\0b"}, ("description", "invalid")),
    ({"overlap": "never"}, ("overlap", "not_one_of")),
    ({"delivery": "exactly_once"}, ("delivery", "not_one_of")),
    ({"misfire": {"policy": "first"}}, ("misfire.policy", "not_one_of")),
    ({"misfire": {"max": 0}}, ("misfire.max", "out_of_range")),
    ({"misfire": {"max": 501}}, ("misfire.max", "out_of_range")),
    ({"misfire": {"grace": "8d"}}, ("misfire.grace", "out_of_range")),
    ({"misfire": {"grace": True}}, ("misfire.grace", "invalid")),
    ({"retry": {"max_attempts": 0}}, ("retry.max_attempts", "out_of_range")),
    ({"retry": {"max_attempts": 101}}, ("retry.max_attempts", "out_of_range")),
    ({"retry": {"max_attempts": 1.5}}, ("retry.max_attempts", "type")),
    ({"retry": {"max_attempts": True}}, ("retry.max_attempts", "type")),
    ({"retry": {"max_attempts": "3"}}, ("retry.max_attempts", "type")),
    ({"retry": {"factor": 0.5}}, ("retry.factor", "out_of_range")),
    ({"retry": {"factor": 101}}, ("retry.factor", "out_of_range")),
    ({"retry": {"jitter": 1.1}}, ("retry.jitter", "out_of_range")),
    ({"retry": {"initial": "25h"}}, ("retry.initial", "out_of_range")),
    ({"retry": {"initial": "soon"}}, ("retry.initial", "invalid")),
    ({"retry": {"initial": {}}}, ("retry.initial", "type")),
    ({"retry": {"max": "8d"}}, ("retry.max", "out_of_range")),
    ({"retry": {"on": ["404", "6xx"]}}, ("retry.on.1", "not_one_of")),
    ({"retry": {"on": ["redirect"]}}, ("retry.on.0", "not_one_of")),
    ({"retry": {"on": [408]}}, ("retry.on.0", "type")),
    ({"success": []}, ("success", "too_short")),
    ({"success": ["okay"]}, ("success.0", "not_one_of")),
    ({"success": ["299-200"]}, ("success.0", "not_one_of")),
    ({"tags": ["re\u0301port"]}, ("tags.0", "pattern")),
    ({"tags": ["x"] * 21}, ("tags", "too_long")),
    ({"tags": ["x" * 51]}, ("tags.0", "too_long")),
    ({"tags": [""]}, ("tags.0", "pattern")),
    ({"tags": ["a,b"]}, ("tags.0", "pattern")),
    ({"tags": [" a"]}, ("tags.0", "pattern")),
    ({"tags": ["a\u202eb"]}, ("tags.0", "pattern")),
    ({"metadata": []}, ("metadata", "type")),
    ({"metadata": {"a": nested(16)}}, ("metadata", "too_deep")),
    ({"metadata": {"a": "x" * 16_384}}, ("metadata", "too_long")),
    # --- targets
    ({"target": {}}, ("target", "one_of")),
    (target(log="x"), ("target", "one_of")),
    ({"target": {"log": "x", "method": "GET"}}, ("target.method", "conflict")),
    ({"target": {"log": ""}}, ("target.log", "too_short")),
    ({"target": {"log": "{{ nme }}"}}, ("target.log", "placeholder")),
    (target(method="GE T"), ("target.method", "pattern")),
    (target(method="connect"), ("target.method", "invalid")),
    (target(timeout=0), ("target.timeout", "out_of_range")),
    (target(timeout="24h1s"), ("target.timeout", "out_of_range")),
    (target(redirects=11), ("target.redirects", "out_of_range")),
    (target(redirects=-1), ("target.redirects", "out_of_range")),
    (target(body=1, body_text="x"), ("target.body_text", "conflict")),
    (target(body=nested(65)), ("target.body", "too_deep")),
    (target(body="x" * 262_143), ("target.body", "too_long")),
    (target(body_text="x" * 262_145), ("target.body_text", "too_long")),
    (target(body_text="é" * 200_000), ("target.body_text", "too_long")),
    (target(body_base64="a b="), ("target.body_base64", "invalid")),
    (target(body_base64="YQ"), ("target.body_base64", "invalid")),
    (target(body={"a": ["{{ fire_tme }}"]}), ("target.body", "placeholder")),
    (target(body_text="{{"), ("target.body_text", "placeholder")),
    # --- URLs
    ({"target": {"url": ""}}, ("target.url", "too_short")),
    ({"target": {"url": "https://h/" + "x" * 8_192}}, ("target.url", "too_long")),
    ({"target": {"url": "ftp://example.com"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "//example.com"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https:example.com"}}, ("target.url", "invalid_url")),
    ({"target": {"url": " https://example.com"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https:///path"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://user:pass@example.com"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://example.com:0/"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://example.com:65536/"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://example.com:x/"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://exa mple.com/"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://example..com/"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://example.com\\@evil.com/"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://[::1/"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://[1.2.3.4]/"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://example.com/a\r\nHost: x"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://example.com/#part"}}, ("target.url", "invalid_url")),
    ({"target": {"url": "https://{{ job_name }}/"}}, ("target.url", "placeholder")),
    ({"target": {"url": "https://h/{{ job }}"}}, ("target.url", "placeholder")),
    # --- headers
    (target(headers={f"X-{n}": "" for n in range(51)}), ("target.headers", "too_long")),
    (target(headers=["a"]), ("target.headers", "type")),
    (headers(X=1), ("target.headers.X", "type")),
    (headers(X="x" * 8_193), ("target.headers.X", "too_long")),
    (target(headers={"": "x"}), ("target.headers.", "invalid")),
    (target(headers={"A B": "x"}), ("target.headers.A B", "invalid")),
    (target(headers={"A:": "x"}), ("target.headers.A:", "invalid")),
    (target(headers={"Ä": "x"}), ("target.headers.Ä", "invalid")),
    (target(headers={"X-A": "1", "x-a": "2"}), ("target.headers.x-a", "duplicate")),
    (headers(X="a\r\nEvil: b"), ("target.headers.X", "invalid")),
    (headers(X="a\nb"), ("target.headers.X", "invalid")),
    (headers(X="\x7f"), ("target.headers.X", "invalid")),
    (headers(X=" a"), ("target.headers.X", "invalid")),
    (headers(X="{{ nope }}"), ("target.headers.X", "placeholder")),
    (headers(Host="x"), ("target.headers.Host", "reserved")),
    (headers(content_length="1"), ("target.headers.content-length", "reserved")),
    (headers(Transfer_Encoding="x"), ("target.headers.Transfer-Encoding", "reserved")),
    (headers(connection="x"), ("target.headers.connection", "reserved")),
    (headers(webhook_id="x"), ("target.headers.webhook-id", "reserved")),
    (headers(Webhook_Anything="x"), ("target.headers.Webhook-Anything", "reserved")),
    (headers(Tocsin_Attempt="x"), ("target.headers.Tocsin-Attempt", "reserved")),
    (headers(idempotency_KEY="x"), ("target.headers.idempotency-KEY", "reserved")),
    (headers(traceparent="x"), ("target.headers.traceparent", "reserved")),
]


def _name_of(value: object) -> str | None:
    return "/".join(value) if isinstance(value, tuple) else ""


@pytest.mark.parametrize(("fields", "problem"), REFUSED, ids=_name_of)
async def test_refused(shared: Api, fields: dict[str, Any], problem: tuple[str, str]) -> None:
    assert await shared.problems("POST", JOBS, json={**JOB, **fields}) == [problem]
    assert (await shared.get(JOBS))["items"] == []


ACCEPTED: list[dict[str, Any]] = [
    {"name": "a"},
    {"name": "0" * 100},
    {"name": "a.b_c-d"},
    {"description": "ünïcödé\nand lines " + "x" * 1_900},
    {"tags": [f"t{n}" for n in range(20)]},
    {"tags": ["x" * 50, "team: a/b", "größe"]},
    {"metadata": {"a": nested(14), "b": "x" * 16_000}},
    target(body=nested(64)),
    target(body="x" * 262_142),
    target(body_text="x" * 262_144),
    target(body_base64=""),
    target(timeout="1ms"),
    target(timeout="24h"),
    target(headers={f"X-{n}": "" for n in range(50)}),
    target(headers={"X": "x" * 8_192, "content-type": "text/csv", "authorization": "Bearer x"}),
    {"target": {"url": "https://example.com/{{{{x}}"}},
    {"target": {"url": "http://localhost"}},
    {"target": {"url": "https://h?" + "x" * 8_182}},
    {"retry": {"max_attempts": 100, "factor": 100, "jitter": 1, "initial": "24h", "max": "7d"}},
    {"retry": {"on": []}},
    {"retry": {"on": ["tls", "protocol", "too_large", "blocked", "400-499"]}},
    {"misfire": {"policy": "all", "max": 500, "grace": "7d"}},
    {"success": ["2xx", "404", "300-399"]},
]


@pytest.mark.parametrize("fields", ACCEPTED, ids=lambda fields: next(iter(fields)))
async def test_accepted(shared: Api, fields: dict[str, Any]) -> None:
    job = await shared.create(**fields)
    assert await shared.get(f"{JOBS}/{job['id']}") == job
    await shared.ask("DELETE", f"{JOBS}/{job['id']}", status=204)


async def test_every_problem_is_told_at_once(shared: Api) -> None:
    job = {
        "schedule": {"cron": "61 * * * *", "timezone": "Mars/Olympus"},
        "target": {"url": "https://h:0", "headers": {"Host": "a", "B ": "c"}},
        "success": ["x"],
        "retry": {"initial": "1y"},
    }
    answer = await shared.ask("POST", JOBS, status=422, json=job | {"success": ["xxx"]})
    assert sorted(one["field"] for one in answer.json()["errors"]) == [
        "retry.initial",
        "schedule.cron",
        "schedule.timezone",
        "success.0",
        "target.headers.B ",
        "target.headers.Host",
        "target.url",
    ]


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"nme": 1}, "did you mean name?"),
        ({"Schedule": {}}, "did you mean schedule?"),
        ({"zzz": 1}, "known are name, description, schedule, target"),
        ({"status": "paused"}, "is set by Tocsin; leave it out"),
        (target(boddy={}), "did you mean body?"),
        ({"overlap": "skipp"}, "is not one of 'allow', 'skip', 'queue' or 'replace'"),
        ({"name": "A"}, "start with a-z or 0-9"),
        ({"retry": {"factor": 500}}, "is more than 100"),
        (headers(Host="x"), "is set by the HTTP client itself"),
        (headers(Tocsin_X="x"), "so that receivers can rely on it"),
        (target(timeout="2d"), "2d is not in 1ms to 1d"),
    ],
)
async def test_the_message_says_what_would_do(
    shared: Api, fields: dict[str, Any], hint: str
) -> None:
    answer = await shared.ask("POST", JOBS, status=422, json={**JOB, **fields})
    assert hint in answer.json()["errors"][0]["message"]


async def test_repeated_tags_are_one(api: Api) -> None:
    assert (await api.create(tags=["b", "a", "b"]))["tags"] == ["b", "a"]


async def test_one_answer_names_what_is_misshapen_and_what_breaks_a_rule(api: Api) -> None:
    job = {
        "name": "Report",
        "schedule": {"cron": "0 2 * *", "timezone": "Europe/Berln"},
        "target": {"url": "ftp://example.com", "headers": {"X-Count": 1, "Host": "x"}, "timeot": 1},
        "retry": {"max_attempts": 0, "initial": "-1s", "on": [503, "5xx", "sometimes"]},
        "misfire": {"policy": "never", "grace": "8d"},
        "success": ["99", "2xx", "20x"],
        "tags": ["a b", "c,d"],
    }
    answer = await api.ask("POST", JOBS, status=422, json=job)
    assert {problem["field"] for problem in answer.json()["errors"]} == {
        "name",
        "schedule.cron",
        "schedule.timezone",
        "target.url",
        "target.headers.X-Count",
        "target.headers.Host",
        "target.timeot",
        "retry.max_attempts",
        "retry.initial",
        "retry.on.0",
        "retry.on.2",
        "misfire.policy",
        "misfire.grace",
        "success.0",
        "success.2",
        "tags.1",
    }


async def test_what_follows_from_a_misspelt_field_is_not_named(api: Api) -> None:
    job = {"schedule": {"at": "2030-01-01T00:00:00Z"}, "target": {"ulr": "https://example.com"}}
    answer = await api.ask("POST", JOBS, status=422, json=job)
    assert [problem["field"] for problem in answer.json()["errors"]] == ["target.ulr"]


async def test_a_missing_part_does_not_hide_what_is_wrong_with_the_other(api: Api) -> None:
    answer = await api.ask("POST", JOBS, status=422, json={"schedule": {"cron": "60 * * * *"}})
    fields = {problem["field"] for problem in answer.json()["errors"]}
    assert fields == {"target", "schedule.cron"}


async def test_a_code_that_is_no_text_is_shown_how_to_be_written(api: Api) -> None:
    job = {"schedule": {"every": "1h"}, "target": {"log": "x"}, "success": [200]}
    (problem,) = (await api.ask("POST", JOBS, status=422, json=job)).json()["errors"]
    assert problem["field"] == "success.0"
    assert problem["message"] == 'is not text such as "2xx", "404" or "500-504"'
