"""Making the call of an execution: both ways, with a task and without, do the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hostile_server import HostileServer, Seen, answering, calling, on_both_loops, serving
from tests.support.build import NOW, at, attempt, execution, job
from tests.support.engine_lab import ManualClock
from tests.support.memory_store import MemoryStore

from tocsin.delivery.deliver import Deliver
from tocsin.delivery.http import HttpClient
from tocsin.delivery.http.message import HttpOutcome
from tocsin.domain.execution import Attempt, ErrorKind, ResponseExcerpt, State, Timings
from tocsin.domain.job import BasicAuth, BodyKind, DeliveryMode, HttpTarget
from tocsin.engine.caller import CallResult, NotStarted
from tocsin.services.sealing import Sealer
from tocsin.services.secrets import SecretService
from tocsin.services.vault import Vault
from tocsin.store.port import Claim

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nabcdef"


@dataclass
class Lab:
    """Deliveries to one server."""

    server: HostileServer
    client: HttpClient
    deliver: Deliver
    may_send: bool = True

    def claim(
        self, path: str = "/hook", *, attempts: Sequence[Attempt] = (), brought: Any = None,
        delivery: DeliveryMode = DeliveryMode.AT_LEAST_ONCE, **target: Any,
    ) -> Claim:  # fmt: skip
        """The claim of an execution that calls the server."""
        one = job(target=HttpTarget(url=self.server.url(path), **target))
        one = replace(one, spec=replace(one.spec, delivery=delivery))
        return Claim(
            execution=execution(
                one, NOW, state=State.CLAIMED, attempts=tuple(attempts), input=brought
            ),
            job=one,
        )

    async def long(self, claim: Claim) -> CallResult:
        """With a task."""
        return await self.deliver.call(claim)

    async def short(self, claim: Claim) -> CallResult:
        """Without one; a connection must be idle."""
        ended: asyncio.Future[CallResult | Exception] = asyncio.get_running_loop().create_future()
        assert self.deliver.begin(claim, ended.set_result) is not None
        result = await ended
        assert isinstance(result, CallResult)
        return result


@asynccontextmanager
async def delivering(
    answers: Sequence[bytes] = (ANSWER,) * 9, *, signed: bool = True
) -> AsyncIterator[Lab]:
    """A server, and what calls it, over one connection that is idle."""
    store = MemoryStore()
    sealer = Sealer([b"k" * 32])
    vault = Vault(store=store, sealer=sealer, now=lambda: NOW)
    await SecretService(
        store=store, vault=vault, sealer=sealer, now=lambda: NOW, new_id=lambda: "1"
    ).ensure_signing("default")
    async with serving(answering(*answers)) as server, calling() as client:
        lab = Lab(server, client, deliver=None)  # type: ignore[arg-type]
        lab.deliver = Deliver(
            client=client,
            clock=ManualClock(),
            node_name="node-1",
            max_response=1_000,
            excerpt=4,
            may_send=lambda: lab.may_send,
            vault=vault if signed else None,
        )
        await lab.long(lab.claim("/warm"))
        yield lab


def unexpected(result: CallResult | Exception) -> None:
    """For calls that must not begin."""
    raise AssertionError(result)


def same(one: Seen, other: Seen) -> bool:
    """Whether two requests are alike but for the span, which is each call's own."""
    return (one.method, one.target, _headers(one), one.body) == (
        other.method,
        other.target,
        _headers(other),
        other.body,
    )


def _headers(seen: Seen) -> list[tuple[str, str]]:
    return [(name, value[:-19] if name == "traceparent" else value) for name, value in seen.headers]


TARGETS: list[dict[str, Any]] = [
    {},
    {"method": "GET"},
    {"method": "DELETE", "headers": (("X-Team", "ops"), ("Accept", "text/plain"))},
    {"body_kind": BodyKind.JSON, "body": {"any": ["json", 1, None]}},
    {"body_kind": BodyKind.JSON, "body": {"at": "{{ fire_time }}", "{{{{": "{{{{"}},
    {"body_kind": BodyKind.TEXT, "body": "tick {{ attempt }} é"},
    {"body_kind": BodyKind.TEXT, "body": "tick", "headers": (("content-type", "text/x"),)},
    {"body_kind": BodyKind.BASE64, "body": "AAEC/w=="},
    {"path": "/{{ job_name }}?id={{ execution_id }}"},
    {"headers": (("X-Fire", "{{ fire_time_ms }}"), ("User-Agent", "x"))},
    {"brought": {"with": "a trigger"}},
    {"body_kind": BodyKind.TEXT, "body": "the job's own", "brought": [2]},
    {"attempts": [attempt(1, error_kind=ErrorKind.TIMEOUT), attempt(2)]},
]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("fields", TARGETS)
@on_both_loops
async def test_both_ways_send_the_same_request(fields: dict[str, Any], signed: bool) -> None:
    async with delivering(signed=signed) as lab:
        claim = lab.claim(**fields)
        results = [
            await lab.long(claim),
            await lab.short(claim),
            await lab.short(claim),
            await lab.long(claim),
        ]
        first, *others = lab.server.seen[1:]
        assert len(others) == 3
        assert all(same(first, other) for other in others)
        assert (first.header("webhook-signature") is not None) is signed
        assert first.header("Tocsin-Job-Name") == claim.job.name
        assert first.header("Tocsin-Attempt") == str(len(claim.execution.attempts) + 1)
        assert len({seen.header("traceparent") for seen in (first, *others)}) == 4
        assert [result.attempt.error_kind for result in results] == [None] * 4
        assert lab.server.connections == 1


@on_both_loops
async def test_both_ways_tell_all_of_an_attempt() -> None:
    async with delivering() as lab:
        for way in (lab.long, lab.short):
            result = await way(lab.claim(attempts=[attempt(1, error_kind=ErrorKind.TIMEOUT)]))
            assert (result.request_written, result.retry_after) == (True, None)
            made = result.attempt
            assert (made.number, made.started_at, made.node) == (2, NOW, "node-1")
            assert (made.http_status, made.error_kind, made.error) == (200, None, None)
            assert made.response is not None
            assert (made.response.excerpt, made.response.truncated) == ("abcd", True)
            timings = made.timings
            assert timings is not None
            assert (timings.dns_ms, timings.connect_ms, timings.proxy_ms) == (None, None, None)
            assert timings.tls_ms is None
            assert timings.total_ms == made.duration_ms
            assert timings.first_byte_ms is not None
            assert 0 < timings.first_byte_ms <= made.duration_ms < 5_000


@on_both_loops
async def test_both_ways_judge_alike() -> None:
    refusal = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"
    async with delivering([ANSWER, refusal, refusal, refusal]) as lab:
        for way in (lab.long, lab.short, lab.short):
            result = await way(lab.claim())
            assert (result.attempt.http_status, result.retry_after) == (503, 7_000)
            assert result.attempt.error_kind is ErrorKind.HTTP_STATUS
            assert result.attempt.error == "answered 503 Service Unavailable; success is 2xx"


@on_both_loops
async def test_what_takes_a_task_is_not_begun_without_one() -> None:
    async with delivering() as lab:
        for fields in (
            {"redirects": 1},
            {"delivery": DeliveryMode.AT_MOST_ONCE},
            {"auth": BasicAuth(username="a", password="b")},
            {"headers": (("X", "a\r\nb"),)},
            {"headers": (("Content-Length", "1"),)},
        ):
            claim = lab.claim(**fields)  # type: ignore[arg-type]
            for _ in range(2):
                assert lab.deliver.begin(claim, unexpected) is None
        assert lab.client.idle_connections == 1
        assert len(lab.server.seen) == 1


@on_both_loops
async def test_neither_way_starts_without_the_lease() -> None:
    async with delivering() as lab:
        lab.may_send = False
        with pytest.raises(NotStarted):
            lab.deliver.begin(lab.claim(), unexpected)
        with pytest.raises(NotStarted):
            await lab.long(lab.claim())
        assert len(lab.server.seen) == 1


@on_both_loops
async def test_what_is_kept_of_targets_is_bounded_by_number_and_by_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with delivering() as lab:
        kept = lab.deliver._compiled
        kept.clear()
        monkeypatch.setattr("tocsin.delivery.deliver.COMPILED_KEPT", 3)
        seen = []
        for _ in range(5):
            await lab.short(lab.claim())
            seen.append(len(kept))
        assert seen == [1, 2, 3, 1, 2]
        monkeypatch.setattr("tocsin.delivery.deliver.COMPILED_KEPT", 1_000)
        monkeypatch.setattr("tocsin.delivery.deliver.COMPILED_BYTES", 900)
        kept.clear()
        lab.deliver._compiled_bytes = 0
        sizes = []
        for body in ("x" * 400, "y" * 400, "z" * 5_000):
            await lab.long(lab.claim(body_kind=BodyKind.TEXT, body=body))
            sizes.append((len(kept), lab.deliver._compiled_bytes > 900))
        assert sizes == [(1, False), (2, False), (0, False)]


@on_both_loops
async def test_a_target_that_is_called_once_is_not_kept() -> None:
    async with delivering() as lab:
        lab.deliver._compiled.clear()
        once = lab.claim()
        spec = replace(once.job.spec, schedule=at(NOW))
        await lab.short(replace(once, job=replace(once.job, spec=spec)))
        assert not lab.deliver._compiled


@on_both_loops
async def test_a_changed_job_is_called_as_it_is_now() -> None:
    async with delivering() as lab:
        claim = lab.claim("/old")
        await lab.short(claim)
        after = replace(
            claim.job,
            version=2,
            spec=replace(claim.job.spec, target=HttpTarget(url=lab.server.url("/new"))),
        )
        await lab.short(replace(claim, job=after))
        await lab.long(replace(claim, job=after))
        assert [seen.target for seen in lab.server.seen[1:]] == ["/old", "/new", "/new"]


async def test_each_field_of_an_attempt_is_that_of_the_outcome() -> None:
    """Attempts and excerpts are made by position, where no type checker sees what goes where."""
    timings = Timings(dns_ms=1.0, connect_ms=2.0, first_byte_ms=3.0, total_ms=6.5)
    outcome = HttpOutcome(
        status=503,
        content_type="text/plain",
        location=None,
        retry_after="7",
        excerpt="busy",
        truncated=True,
        error_kind=None,
        error=None,
        request_written=True,
        timings=timings,
        total_ms=6.5,
    )
    async with delivering() as lab:
        result = lab.deliver.result(outcome, job(), 3, at(2))
    assert result.attempt == Attempt(
        number=3,
        started_at=at(2),
        duration_ms=6.5,
        http_status=503,
        error_kind=ErrorKind.HTTP_STATUS,
        error=result.attempt.error,
        node="node-1",
        timings=timings,
        response=ResponseExcerpt(excerpt="busy", truncated=True),
    )
    assert "503" in (result.attempt.error or "")
    assert result.request_written
    assert result.retry_after == 7_000
