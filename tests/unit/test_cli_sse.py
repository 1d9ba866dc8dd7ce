"""Following server-sent events."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from fake_api import Asked, FakeApi, api_fixture, problem, stream

from tocsin.cli.client import Client
from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.sse import LONGEST_WAIT, Event, follow, parse_events

api = api_fixture


def parsed(text: str) -> list[tuple[str, str, str | None]]:
    return [(one.name, one.data, one.id) for one in parse_events(text.split("\n"))]


def test_events_are_read_as_the_standard_has_it() -> None:
    assert parsed(": hello\n\nretry: 2000\n\n") == []
    assert parsed("data: a\n\ndata: b\ndata:c\n\n") == [
        ("message", "a", None),
        ("message", "b\nc", None),
    ]
    assert parsed('id: x-1\nevent: job.created\ndata: {"a": 1}\n\ndata: y\n\n') == [
        ("job.created", '{"a": 1}', "x-1"),
        ("message", "y", "x-1"),  # the id stays until there is a new one
    ]
    assert parsed("data: cut off") == []
    assert parsed("event: nothing\n\ndata\n\n") == [("message", "", None)]


def following(
    api: FakeApi, waits: list[float], told: list[Any], **params: Any
) -> "Callable[[int], list[Event]]":
    def take(count: int) -> list[Event]:
        with Client(api.url) as client:
            events = follow(
                client,
                "/events",
                params=params,
                connected=told.append,
                lost=told.append,
                sleep=waits.append,
            )
            return list(islice(events, count))

    return take


def test_it_goes_on_from_the_last_event_where_the_connection_breaks(api: FakeApi) -> None:
    waits: list[float] = []
    told: list[Any] = []
    api.on(
        "GET",
        "/events",
        stream("id: x-1\ndata: 1\n\n", "id: x-2\ndata: 2\n\n"),
        stream("id: x-3\ndata: 3\n\n"),
    )
    events = following(api, waits, told, job="a")(3)
    assert [event.data for event in events] == ["1", "2", "3"]
    assert [one.headers.get("last-event-id") for one in api.asked] == [None, "x-2"]
    assert [one.query for one in api.asked] == [{"job": ["a"]}] * 2
    assert told == [True, "the server ended it", False]


def test_it_waits_longer_with_each_try_in_vain(api: FakeApi) -> None:
    waits: list[float] = []
    told: list[Any] = []
    busy = problem(503, "Starting")
    tries = [stream("data: 1\n\n"), *[busy] * 6, stream("data: 2\n\n"), stream("data: 3\n\n")]
    api.on("GET", "/events", *tries)
    following(api, waits, told)(3)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_WAIT, LONGEST_WAIT, 0.5]


def test_what_is_wrong_from_the_start_is_told(api: FakeApi) -> None:
    api.on("GET", "/events", problem(404, "Not found", detail="there is no job 'x'"))
    with pytest.raises(CommandFailed, match="there is no job 'x'") as caught:
        following(api, [], [])(1)
    assert caught.value.exit_code is ExitCode.NOT_FOUND
    api.url = "http://127.0.0.1:1"
    with pytest.raises(CommandFailed) as caught:
        following(api, [], [])(1)
    assert caught.value.exit_code is ExitCode.UNREACHABLE


def test_a_refusal_later_on_ends_it(api: FakeApi) -> None:
    def gone(_: Asked) -> Any:
        return problem(404, "Not found")

    api.on("GET", "/events", stream("data: 1\n\n"), gone)
    with pytest.raises(CommandFailed, match="Not found"):
        following(api, [], [])(2)
