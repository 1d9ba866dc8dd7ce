"""``tocsin nodes`` against a server that answers as it is told."""

import json
from typing import Any

import pytest
from fake_api import FakeApi, api_fixture, problem

from tocsin.api.cluster import EXAMPLE

api = api_fixture
Captured = pytest.CaptureFixture[str]


def cluster(*nodes: dict[str, Any]) -> dict[str, Any]:
    return EXAMPLE | {"nodes": list(nodes)}


def a_node(**more: Any) -> dict[str, Any]:
    return EXAMPLE["nodes"][0] | more


def test_list_shows_who_lives_and_who_does_not(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/cluster", EXAMPLE)
    assert api.tocsin("nodes", "list") == 0
    captured = capsys.readouterr()
    header, alpha, beta = captured.out.splitlines()
    assert header.split() == [
        *("NAME", "LEASE", "ENDS", "IN", "FLIGHT", "HELD", "CLOCK", "VERSION", "UPTIME", "ADDRESS"),
    ]
    assert alpha.split() == [
        *("alpha", "held", "in", "4.7s", "12/1,000", "431/20,000", "-1", "ms", "0.1.0"),
        *("2h", "30m", "http://10.0.0.11:8080"),
    ]
    assert beta.split()[:4] == ["beta", "lapsed", "3.2s", "ago"]
    assert "1 lapsed: what such a node holds is taken over within seconds" in captured.err


def test_list_says_nothing_about_lapsed_nodes_where_there_are_none(
    api: FakeApi, capsys: Captured
) -> None:
    api.on("GET", "/cluster", cluster(a_node()))
    assert api.tocsin("nodes", "list") == 0
    assert capsys.readouterr().err == ""


def test_list_fits_a_terminal(
    api: FakeApi, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    long = a_node(name="n" * 90, address="http://" + "a" * 90)
    api.on("GET", "/cluster", cluster(long))
    assert api.tocsin("nodes", "list") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_list_shows_what_it_is_told_and_no_more(api: FakeApi, capsys: Captured) -> None:
    bare = a_node(
        load={"held": 3, "in_flight": None},
        clock_offset_ms=None,
        lease={"state": "in_doubt", "until": "2026-11-21T12:00:00Z", "remaining_ms": -200_000},
    )
    api.on("GET", "/cluster", cluster(bare, {"name": "gamma"}))
    assert api.tocsin("nodes", "list") == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:5] == ["alpha", "in_doubt", "3m", "ago", "3"]
    assert second.split() == ["gamma", "unknown", "0s"]


def test_list_as_json_is_one_node_per_line(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/cluster", EXAMPLE)
    assert api.tocsin("nodes", "list", "--json") == 0
    captured = capsys.readouterr()
    assert [json.loads(line) for line in captured.out.splitlines()] == EXAMPLE["nodes"]
    assert captured.err == ""


def test_list_without_any_node(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/cluster", cluster())
    assert api.tocsin("nodes", "list") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing fires" in captured.err


def test_list_where_the_store_does_not_answer(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/cluster", problem(503, "The store does not answer", detail="try again"))
    assert api.tocsin("nodes", "list") == 1
    assert "try again" in capsys.readouterr().err


def test_status_counts_the_nodes(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/readyz", {"ready": True, "checks": []})
    api.on("GET", "/stats", {"jobs": {}, "executions": {}, "next_fires": []})
    api.on("GET", "/cluster", EXAMPLE)
    assert api.tocsin("status") == 0
    assert "Nodes    1 held   1 lapsed" in capsys.readouterr().out
    assert api.tocsin("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cluster"] == EXAMPLE


def test_status_of_a_server_that_does_not_show_its_nodes(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/readyz", {"ready": True, "checks": []})
    api.on("GET", "/stats", {"jobs": {}, "executions": {}, "next_fires": []})
    assert api.tocsin("status") == 0
    assert "Nodes" not in capsys.readouterr().out


def test_status_where_the_nodes_cannot_be_read(api: FakeApi, capsys: Captured) -> None:
    api.on("GET", "/readyz", {"ready": True, "checks": []})
    api.on("GET", "/stats", {"jobs": {}, "executions": {}, "next_fires": []})
    api.on("GET", "/cluster", problem(503, "The store does not answer", detail="try again"))
    assert api.tocsin("status") == 1
    assert "try again" in capsys.readouterr().err
