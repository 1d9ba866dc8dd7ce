"""Jobs as lines of JSON: each is stored and answered for itself, while more come in."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from tests.api.access import guarded
from tests.api.harness import JOB, JOBS, Api, serving
from tests.api.job_streams import BATCH, NDJSON, Caller, line, stream
from tests.support.memory_store import MemoryStore
from tocsin.api import job_stream
from tocsin.api.context import BodyLimits
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.instant import MINUTE
from tocsin.store.port import Created, Limits, NewJobs


def summary(created: int, refused: int = 0, replayed: int = 0) -> dict[str, Any]:
    return {"complete": True, "created": created, "replayed": replayed, "refused": refused}


async def names(api: Api) -> list[str]:
    return sorted(one["name"] for one in (await api.get(JOBS, limit=200))["items"])


# --- lines and their answers


async def test_each_line_is_answered_with_its_job(api: Api) -> None:
    answers = await stream(api, [line(name=f"job-{number}") for number in range(30)])
    assert answers[-1] == summary(30)
    for number, answer in enumerate(answers[:-1]):
        job = await api.get(f"{JOBS}/job-{number}")
        assert answer == {
            "line": number + 1,
            "status": 201,
            "id": job["id"],
            "name": f"job-{number}",
            "next_fire_at": job["next_fire_at"],
        }
    assert api.changes() == ["created"]


async def test_a_bad_line_costs_the_others_nothing(api: Api) -> None:
    await api.create(name="taken")
    answers = await stream(
        api,
        [
            line(name="a"),
            b'{"name": "torn"\n',
            line(name="taken"),
            b"\n",
            line(schedule={"cron": "* * *"}),
            b"17\n",
            line(name="b", colour="red"),
            line(name="a"),
            b'{"name":"nul\\u0000"}\r\n',
            b"  \r\n",
            line(name="c").replace(b"\n", b"\r\n"),
            line(name="d").rstrip(b"\n"),
        ],
    )
    told = [
        (one["line"], one["status"], one.get("name") or one["problem"]["code"])
        for one in answers[:-1]
    ]
    assert told == [
        (1, 201, "a"),
        (2, 400, "invalid_json"),
        (3, 409, "name_taken"),
        (5, 422, "invalid_input"),
        (6, 422, "invalid_input"),
        (7, 422, "invalid_input"),
        (8, 409, "name_taken"),
        (9, 422, "invalid_input"),
        (11, 201, "c"),
        (12, 201, "d"),
    ]
    assert answers[-1] == summary(3, refused=7)
    fields = {
        one["line"]: one["problem"]["errors"][0]["field"] for one in answers if "problem" in one
    }
    assert fields[3] == "name"
    assert fields[5] == "schedule.cron"
    assert fields[7] == "colour"
    assert "at column" in answers[1]["problem"]["detail"]
    assert await names(api) == ["a", "c", "d", "taken"]


async def test_pieces_end_where_they_like(api: Api) -> None:
    text = line(name="ümlaut") + line(name="a") + line(name="b", description="ä" * 50)
    caller = Caller(api).begin()
    for byte in text:
        caller.write(bytes([byte]))
    caller.close()
    answers = await caller.end()
    assert [one["status"] for one in answers[:-1]] == [422, 201, 201]
    assert [one["line"] for one in answers[:-1]] == [1, 2, 3]


async def test_a_line_that_is_too_long_is_skipped() -> None:
    async with serving(MemoryStore(), body_limits=BodyLimits(body=2_000, batch=3_000)) as api:
        caller = Caller(api).begin()
        caller.write(line(name="a"), b'{"description": "')
        for _ in range(100):
            caller.write(b"x" * 1_000)
        caller.write(b'"}\n', line(name="b"), line(name="c", description="y" * 3_000))
        caller.close()
        answers = await caller.end()
    assert [(one["line"], one["status"]) for one in answers[:-1]] == [
        (1, 201),
        (2, 413),
        (3, 201),
        (4, 413),
    ]
    assert answers[1]["problem"]["code"] == "payload_too_large"


async def test_nothing_is_a_stream_too(api: Api) -> None:
    assert await stream(api, []) == [summary(0)]
    assert await stream(api, [b"\n\n"]) == [summary(0)]


async def test_only_what_was_refused_is_told_where_that_is_enough(api: Api) -> None:
    caller = Caller(api, {"prefer": 'respond-async, return="minimal"'}).begin()
    caller.write(line(name="a"), line(name="A"), line(name="b"))
    caller.close()
    answers = await caller.end()
    assert [one.get("line") for one in answers] == [2, None]
    assert answers[-1] == summary(2, refused=1)
    assert (b"preference-applied", b"return=minimal") in caller.head["headers"]


async def test_other_bodies_are_one_batch_as_before(api: Api) -> None:
    answer = await api.ask("POST", BATCH, status=201, json={"jobs": [JOB]})
    assert len(answer.json()["items"]) == 1
    packed = {"Content-Type": NDJSON, "Content-Encoding": "gzip"}
    await api.ask("POST", BATCH, status=415, content=b"", headers=packed)


# --- as it comes


async def test_a_slow_client_hears_of_each_line_when_it_is_stored(api: Api) -> None:
    caller = Caller(api).begin()
    for number in range(3):
        caller.write(line(name=f"job-{number}"))
        answers = await caller.heard(number + 1)
        assert answers[-1]["name"] == f"job-{number}"
        assert await api.get(f"{JOBS}/job-{number}")
    caller.close()
    assert (await caller.end())[-1] == summary(3)


async def test_what_was_answered_is_stored_when_the_connection_is_cut(api: Api) -> None:
    caller = Caller(api).begin()
    caller.write(line(name="a"), line(name="b"), line(name="torn")[:40])
    await caller.heard(2)
    caller.hang_up()
    answers = await caller.end()
    assert [one["name"] for one in answers] == ["a", "b"]
    assert not caller.ended
    assert await names(api) == ["a", "b"]


class Slow(MemoryStore):
    """A store whose next writes wait."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.sizes: list[int] = []

    async def create_sets(self, sets: Sequence[NewJobs], *, limits: Limits) -> Sequence[Created]:
        self.sizes.append(sum(len(one.jobs) for one in sets))
        await self.gate.wait()
        return await super().create_sets(sets, limits=limits)


ROOMY = Limits(max_jobs=1_000_000, max_bytes=10**10)


async def settled(caller: Caller) -> int:
    """How many pieces were taken when no more are."""
    before = -1
    while before != caller.taken:
        before = caller.taken
        for _ in range(200):
            await asyncio.sleep(0)
    return before


async def test_no_more_is_read_than_can_wait() -> None:
    """100,000 lines take the memory of some thousand, however slow the store is."""
    store = Slow()
    async with serving(store, limits=ROOMY) as api:
        caller = Caller(api).begin()
        for start in range(0, 100_000, 500):
            caller.write(*(line(name=f"job-{number}") for number in range(start, start + 500)))
        caller.close()
        most = 2 * job_stream.MOST_LINES + 1_000
        assert await settled(caller) * 500 <= most
        store.gate.set()
        answers = await caller.end()
    assert answers[-1] == summary(100_000)
    assert [one["line"] for one in answers[:-1]] == list(range(1, 100_001))
    assert max(store.sizes) <= job_stream.MOST_LINES + job_stream.SLICE
    # Not line by line, either.
    assert len(store.sizes) < 60


async def test_nor_where_lines_are_large() -> None:
    store = Slow()
    async with serving(store, limits=ROOMY) as api:
        caller = Caller(api).begin()
        body = {"text": "y" * 60_000}
        large = line(target={"url": "https://example.com/hook", "body": body})
        for _ in range(400):
            caller.write(large)
        caller.close()
        taken = await settled(caller)
        assert taken * len(large) <= 2 * job_stream.MOST_BYTES + 10 * len(large)
        store.gate.set()
        answers = await caller.end()
    assert answers[-1] == summary(400)


async def test_who_does_not_read_is_not_read_from() -> None:
    async with serving(MemoryStore(), limits=ROOMY) as api:
        caller = Caller(api, reads=False).begin()
        for start in range(0, 30_000, 500):
            caller.write(*(line(name=f"job-{number}") for number in range(start, start + 500)))
        caller.close()
        assert await settled(caller) * 500 <= 4 * job_stream.MOST_LINES
        caller.read_on()
        assert (await caller.end())[-1] == summary(30_000)


async def test_who_never_reads_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_stream, "SEND_TIMEOUT", 0.0)
    async with serving(MemoryStore()) as api:
        caller = Caller(api, reads=False).begin()
        caller.write(line(name="a"))
        await caller.end()
        assert not caller.ended
        assert await names(api) == ["a"]


async def test_who_sends_nothing_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_stream, "IDLE", 0.05)
    async with serving(MemoryStore()) as api:
        caller = Caller(api).begin()
        caller.write(line(name="a"))
        answers = await caller.end()
    assert answers[0]["name"] == "a"
    assert answers[-1]["complete"] is False
    assert answers[-1]["problem"]["code"] == "stream_idle"
    assert caller.ended


async def test_bytes_that_make_no_line_do_not_keep_a_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job_stream, "IDLE", 0.05)
    async with serving(MemoryStore()) as api:
        caller = Caller(api).begin()
        caller.write(line(name="a"))
        ending = asyncio.create_task(caller.end())
        while not ending.done():
            caller.write(b" ")
            await asyncio.sleep(0.001)
        answers = await ending
    assert answers[-1]["problem"]["code"] == "stream_idle"


async def test_one_key_cannot_take_the_places_of_all() -> None:
    async with guarded(MemoryStore()) as gate:
        keys = [(await gate.make(role="editor"))["key"] for _ in range(2)]
        greedy, other = ({"authorization": f"Bearer {key}"} for key in keys)
        callers = [
            Caller(gate.api, headers=greedy).begin() for _ in range(job_stream.MOST_STREAMS_EACH)
        ]
        callers.append(Caller(gate.api, headers=other).begin())
        for caller in callers:
            caller.write(line())
            await caller.heard(1)
        refused = await gate.api.client.post(
            BATCH, content=line(), headers={"Content-Type": NDJSON, **greedy}
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
        assert "8 with this key" in refused.json()["detail"]
        for caller in callers:
            caller.close()
            await caller.end()


async def test_streams_are_counted() -> None:
    async with serving(MemoryStore()) as api:
        callers = [Caller(api).begin() for _ in range(job_stream.MOST_STREAMS)]
        for caller in callers:
            caller.write(line())
            await caller.heard(1)
        refused = await api.ask(
            "POST", BATCH, status=503, content=line(), headers={"Content-Type": NDJSON}
        )
        assert refused.json()["code"] == "too_many_streams"
        assert refused.headers["retry-after"]
        for caller in callers[:2]:
            caller.close()
            await caller.end()
        callers[2].hang_up()
        await callers[2].end()
        for _ in range(3):
            callers.append(Caller(api).begin())
            callers[-1].write(line())
            await callers[-1].heard(1)
        for caller in callers[3:]:
            caller.close()
            assert (await caller.end())[-1] == summary(1)


# --- what a stream runs into


async def test_jobs_are_stored_until_a_limit_is_reached(store: Any) -> None:
    async with serving(store, limits=Limits(max_jobs=7, max_bytes=10**9)) as api:
        await api.create(name="first")
        answers = await stream(api, [line(name=f"job-{number}") for number in range(10)])
        assert [one["status"] for one in answers[:-1]] == [201] * 6 + [507] * 4
        assert {one["problem"]["code"] for one in answers[6:-1]} == {"capacity_exceeded"}
        assert answers[-1] == summary(6, refused=4)
        assert len(await names(api)) == 7


class Failing(MemoryStore):
    """A store that is out of reach after its first write."""

    written = 0

    async def create_sets(self, sets: Sequence[NewJobs], *, limits: Limits) -> Sequence[Created]:
        if self.written:
            raise StoreUnavailable("swordfish")
        self.written += 1
        return await super().create_sets(sets, limits=limits)


async def test_a_store_out_of_reach_ends_the_stream() -> None:
    async with serving(Failing()) as api:
        caller = Caller(api).begin()
        caller.write(line(name="a"))
        await caller.heard(1)
        caller.write(line(name="b"), b"{\n", line(name="c"))
        answers = await caller.end()
    assert [(one["line"], one["status"]) for one in answers[:-1]] == [
        (1, 201),
        (2, 503),
        (3, 400),
        (4, 503),
    ]
    assert answers[-1]["complete"] is False
    assert answers[-1]["problem"]["code"] == "store_unavailable"
    assert "swordfish" not in str(answers)
    assert caller.ended


async def test_a_surprise_cuts_the_connection_and_tells_nothing() -> None:
    class Broken(MemoryStore):
        async def create_sets(self, *_: object, **__: object) -> Sequence[Created]:
            raise RuntimeError("the password is swordfish")

    async with serving(Broken()) as api:
        caller = Caller(api).begin()
        caller.write(line())
        caller.close()
        answers = await caller.end()
    assert caller.status == 500
    assert answers[0]["code"] == "internal_error"
    assert "swordfish" not in str(answers)


# --- sent again


async def test_a_stream_with_a_key_can_be_sent_again(api: Api) -> None:
    lines = [line(), line(), b"nonsense\n", line(name="named")]
    first = await stream(api, lines[:2], Idempotency_Key="k")
    again = await stream(api, lines, Idempotency_Key="k")
    assert [one.get("replayed") for one in again[:-1]] == [True, True, None, None]
    assert [one["id"] for one in again[:2]] == [one["id"] for one in first[:2]]
    assert again[-1] == summary(1, refused=1, replayed=2)
    whole = await stream(api, lines, Idempotency_Key="k")
    assert whole[-1] == summary(0, refused=1, replayed=3)
    assert len(await names(api)) == 3
    other = await stream(api, [line(tags=["other"])], Idempotency_Key="k")
    assert other[0]["problem"]["code"] == "idempotency_key_reused"
    fresh = await stream(api, lines[:2], Idempotency_Key="another")
    assert fresh[-1] == summary(2)


async def test_what_was_fine_then_is_answered_though_it_is_late_now(api: Api) -> None:
    once = line(schedule={"at": "2026-06-01T00:00:00Z"})
    api.clock.now = 1_780_271_999_000  # a second before
    first = await stream(api, [once], Idempotency_Key="k")
    assert first[-1] == summary(1)
    api.clock.now += 10 * MINUTE
    assert (await stream(api, [once], Idempotency_Key="k"))[-1] == summary(0, replayed=1)
    assert (await stream(api, [once]))[-1] == summary(0, refused=1)


@pytest.mark.parametrize("key", ["", "with space", "x" * 201])
async def test_a_key_that_is_none_is_refused_before_anything_is_read(key: str) -> None:
    async with serving(MemoryStore()) as api:
        refused = await api.problems(
            "POST",
            BATCH,
            content=line(),
            headers={"Content-Type": NDJSON, "Idempotency-Key": key},
        )
        assert [field for field, _ in refused] == ["Idempotency-Key"]
        assert await names(api) == []


# --- who may


async def test_who_may_not_create_jobs_is_refused_before_anything_is_read() -> None:
    async with guarded(MemoryStore()) as api:
        for role, status in (("viewer", 403), ("operator", 403), ("editor", 200)):
            client = await api.of(role=role)
            answer = await client.post(BATCH, content=line(), headers={"Content-Type": NDJSON})
            assert answer.status_code == status, role
        anonymous = await api.anonymous.post(
            BATCH, content=line(), headers={"Content-Type": NDJSON}
        )
        assert anonymous.status_code == 401


async def test_a_key_that_is_limited_to_tags_makes_jobs_with_one_of_them_only() -> None:
    async with guarded(MemoryStore()) as api:
        client = await api.of(role="editor", tags=["mine"])
        answer = await client.post(
            BATCH,
            content=line(name="a", tags=["mine"]) + line(name="b") + line(name="c", tags=["mine"]),
            headers={"Content-Type": NDJSON},
        )
        told = [orjson.loads(one) for one in answer.text.splitlines()]
        assert [one["status"] for one in told[:-1]] == [201, 403, 201]
        assert told[-1] == summary(2, refused=1)


async def test_a_key_that_is_revoked_ends_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_stream, "RECHECKED", 0.0)
    async with guarded(MemoryStore()) as api:
        key = await api.make(role="editor")
        caller = Caller(api.api, {"authorization": f"Bearer {key['key']}"}).begin()
        caller.write(line(name="a"))
        await caller.heard(1)
        await api.api.ask("DELETE", f"/api/v1/keys/{key['id']}", status=204)
        caller.write(line(name="b"))
        answers = await caller.end()
        assert answers[-1]["complete"] is False
        assert answers[-1]["problem"]["status"] == 401
        assert await names(api.api) == ["a"]


async def test_the_audit_log_tells_who_made_how_many_and_nothing_of_those_refused(
    api: Api,
) -> None:
    sound = await stream(api, [line(), line(), line(name="B")])
    mixed = await stream(api, [line(name="a"), line(name="a"), line(name="c")])
    entries = await api.get("/api/v1/audit")
    told = [(one["action"], one["subject"]["name"], one["after"]) for one in entries["items"]]
    batch = [after for action, _, after in told if action == "jobs.create"]
    assert batch == [{"count": 2, "ids": [one["id"] for one in sound[:2]]}]
    single = sorted(name for action, name, _ in told if action == "job.create")
    assert single == ["a", "c"]
    assert mixed[-1] == summary(2, refused=1)


async def test_the_audit_log_names_each_job_of_a_large_part() -> None:
    store = Slow()
    async with serving(store, limits=ROOMY) as api:
        caller = Caller(api).begin()
        caller.write(line())
        caller.write(*(line() for _ in range(2_500)))
        caller.close()
        await settled(caller)
        store.gate.set()
        answers = await caller.end()
        entries = (await api.get("/api/v1/audit"))["items"]
    told = [one["after"] for one in entries if one["action"] == "jobs.create"]
    assert sorted(one["count"] for one in told if one["count"] > 1)[-2:] == [1_000, 1_000]
    assert {one for entry in told for one in entry["ids"]} == {one["id"] for one in answers[:-1]}
