"""The table of stages names what is there, and sorts stacks as it says."""

import ast
from functools import cache
from pathlib import Path

import pytest
from bench import stages
from bench.profiles import LOOP, STORE, Samples, read_samples

import tocsin

ROOT = Path(tocsin.__file__).parent


@cache
def functions_of(module: str) -> frozenset[str]:
    """Every function of a module, methods and nested ones too."""
    tree = ast.parse((ROOT / module).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize(("stage", "place", "functions"), stages.PLACES)
def test_what_the_table_names_is_there(stage: str, place: str, functions: str) -> None:
    """Renamed or moved, it would count for another stage without a word: name it anew."""
    assert stage in {*stages.STAGES, stages.SHARED}
    assert (ROOT / place).exists()
    assert set(functions.split()) <= (functions_of(place) if functions else set())


def test_no_place_is_named_twice() -> None:
    places = [
        (place, function)
        for _, place, functions in stages.PLACES
        for function in functions.split() or [""]
    ]
    assert len(places) == len(set(places))


def test_every_stage_has_a_place() -> None:
    assert {stage for stage, _, _ in stages.PLACES} | {stages.REST} == {
        *stages.STAGES,
        stages.SHARED,
    }


@pytest.mark.parametrize(
    ("innermost", "stage"),
    [
        ("Dispatcher.pump (tocsin/engine/dispatch.py:10)", stages.WAKE),
        ("HttpClient.call (tocsin/delivery/http/client.py:9)", stages.CALL),
        ("Connection.exchange (tocsin/delivery/http/connection.py:9)", stages.WRITE),
        ("SqlStore.claim.<locals>.<lambda> (tocsin/store/sql/store.py:285)", stages.CLAIM),
        ("SqlStore.record (/a/b/site-packages/tocsin/store/sql/store.py:1)", stages.RECORD),
        ("SqlStore.stats (tocsin/store/sql/store.py:1)", stages.STORE),
        ("Cron.next_after (tocsin/domain/schedule/model.py:3)", stages.PLAN),
        ("Heartbeat.step (tocsin/engine/heartbeat.py:3)", stages.UPKEEP),
        ("Runner.run (asyncio/runners.py:118)", stages.REST),
    ],
)
def test_a_stack_belongs_to_its_innermost_frame_that_is_named(innermost: str, stage: str) -> None:
    outer = ["main (tocsin/cli/main.py:84)", "run (tocsin/app.py:85)"]
    library = ["dumps (orjson/__init__.py:1)", "execution_row (tocsin/store/rows.py:7)"]
    assert stages.stage_of([*outer, innermost, *reversed(library)]) == stage


def test_samples_are_counted_by_thread_and_what_rests_is_not_busy() -> None:
    samples = Samples()
    read_samples(
        [
            "thread (7): MainThread;run (asyncio/runners.py:118) 50",
            "thread (7): MainThread;run (asyncio/runners.py:118);"
            "pump (tocsin/engine/dispatch.py:3) 4",
            "thread (8): tocsin-store-write_0;_worker (concurrent/futures/thread.py:81) 30",
            "thread (8): tocsin-store-write_0;_worker (concurrent/futures/thread.py:83);"
            "transaction (tocsin/store/sqlite/engine.py:103) 3",
            "thread (9);_worker (concurrent/futures/thread.py:81) 2",
        ],
        samples,
    )
    assert [samples.group(thread) for thread in (7, 8)] == [LOOP, STORE]
    assert samples.stages[7] == {stages.REST: 50, stages.WAKE: 4}
    assert samples.busy == {7: 4, 8: 3}
