"""Whoever asks too often is told so, and when to come back."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.types import Scope

from tests.api.access import make_guarded
from tests.api.harness import JOB, JOBS, make_api
from tests.support.memory_store import MemoryStore
from tests.support.redis import RedisServer, redis_with_tls
from tocsin.api.app import create_api
from tocsin.api.guesses import FREE
from tocsin.api.rates import Rates, read_rate
from tocsin.api.throttle import Known, by_key
from tocsin.domain.errors import StoreUnavailable
from tocsin.services.sign_in import REMEMBERED

RATE = read_rate("5/day")
"""By the day, because windows are those of the clock: a test that meets the end of one sees two."""


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy with other things a Redis that lives is not taken for dead."""
    monkeypatch.setattr("tocsin.api.rates.REDIS_TIMEOUT", 30.0)


class Door:
    """The API behind a limit of five writes a day."""

    def __init__(self, rates: Rates, **more: Any) -> None:
        context = make_api(MemoryStore(), demo=True).context
        self.app = create_api(replace(context, rates=rates, rate=RATE, **more))

    async def ask(
        self,
        method: str = "POST",
        path: str = JOBS,
        *,
        address: str = "192.0.2.1",
        **headers: str,
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            body = JOB if method == "POST" and path == JOBS else None
            return await client.request(method, path, json=body, headers=sent)

    async def statuses(self, count: int, **options: str) -> list[int]:
        return [(await self.ask(**options)).status_code for _ in range(count)]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    rates = Rates()
    yield Door(rates)
    await rates.close()


async def test_the_sixth_write_is_refused_and_told_when_to_come_back(door: Door) -> None:
    for left in (4, 3, 2, 1, 0):
        answer = await door.ask()
        assert answer.status_code == 201
        assert answer.headers["ratelimit-policy"] == '"writes";q=5;w=86400'
        assert answer.headers["ratelimit"].startswith(f'"writes";r={left};t=')
    refused = await door.ask()
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert refused.headers["ratelimit"].startswith('"writes";r=0;t=')
    assert "x-request-id" in refused.headers
    # Nothing was changed by it.
    assert len((await door.ask("GET")).json()["items"]) == 5


async def test_a_stream_of_jobs_is_one_write(door: Door) -> None:
    transport = httpx.ASGITransport(app=door.app, client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:

        async def send(number: int) -> httpx.Response:
            lines = b"".join(
                orjson.dumps(JOB | {"name": f"{number}-{n}"}) + b"\n" for n in range(9)
            )
            headers = {"content-type": "application/x-ndjson"}
            return await client.post(f"{JOBS}:batch", content=lines, headers=headers)

        answers = [await send(number) for number in range(6)]
    assert [one.status_code for one in answers] == [200] * 5 + [429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert len((await door.ask("GET", f"{JOBS}?limit=100")).json()["items"]) == 5 * 9


async def test_addresses_are_counted_apart(door: Door) -> None:
    assert await door.statuses(6, address="192.0.2.1") == [201] * 5 + [429]
    assert await door.statuses(1, address="192.0.2.2") == [201]


async def test_who_has_a_network_of_ipv6_has_one_address(door: Door) -> None:
    for number in range(5):
        assert await door.statuses(1, address=f"2001:db8::{number}") == [201]
    assert await door.statuses(1, address="2001:db8::ffff") == [429]
    assert await door.statuses(1, address="2001:db8:0:1::1") == [201]
    assert await door.statuses(5, address="::ffff:192.0.2.9") == [201] * 5
    assert await door.statuses(1, address="192.0.2.9") == [429]


@pytest.mark.parametrize("header", ["authorization", "x_api_key"])
async def test_keys_are_counted_apart(door: Door, header: str) -> None:
    prefix = "Bearer " if header == "authorization" else ""
    assert await door.statuses(6, **{header: f"{prefix}one"}) == [201] * 5 + [429]
    assert await door.statuses(1, **{header: f"{prefix}two"}) == [201]
    assert await door.statuses(1) == [201]
    assert await door.statuses(1, **{header: f"{prefix}one"}, address="192.0.2.7") == [429]


async def test_keys_that_are_made_up_gain_nothing(door: Door) -> None:
    found = [(await door.ask(x_api_key=f"made-up-{n}")).status_code for n in range(51)]
    assert found == [201] * 50 + [429]


@pytest.mark.parametrize(
    "disguise",
    [
        lambda n: {"cookie": f"tocsin={n}", "authorization": "Bearer one"},
        lambda n: {"cookie": f"tocsin_session={n}", "x_api_key": "one"},
        lambda n: {"authorization": "Bearer one" + "\t" * n},
        lambda n: {"cookie": f"n={n}; tocsin_session=one"},
    ],
    ids=["a cookie", "a session", "spaces", "another cookie"],
)
async def test_a_key_is_counted_as_itself_whatever_is_sent_beside_it(
    door: Door, disguise: Callable[[int], dict[str, str]]
) -> None:
    found = [(await door.ask(**disguise(number))).status_code for number in range(6)]
    assert found == [201] * 5 + [429]


async def test_a_key_may_have_a_limit_of_its_own(door: Door) -> None:
    async def identify(scope: Scope) -> Known | None:
        key = dict(scope["headers"]).get(b"x-api-key")
        known = {b"busy": read_rate("8/day"), b"free": read_rate("off")}
        return Known(id=key.decode(), rate=known[key]) if key in known else None

    rates = Rates()
    door = Door(rates, identify=identify)
    assert await door.statuses(9, x_api_key="busy") == [201] * 8 + [429]
    assert await door.statuses(12, x_api_key="free") == [201] * 12
    assert await door.statuses(6, x_api_key="other") == [201] * 5 + [429]
    await rates.close()


async def test_a_store_that_is_away_is_told_as_that_and_not_as_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    gate = make_guarded(store)
    await gate.begin()
    own = await gate.make(rate_limit="8/hour")
    rates = Rates()
    app = create_api(
        replace(gate.api.context, rates=rates, rate=RATE, identify=by_key(gate.sign_in))
    )
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="http://x",
        headers={"X-API-Key": own["key"]},
    )
    assert (await client.get(JOBS)).status_code == 200

    async def away(_: str) -> None:
        raise StoreUnavailable("no route to host")

    monkeypatch.setattr(store, "find_key", away)
    gate.watch.now += REMEMBERED + 1
    answer = await client.get(JOBS)
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "store_unavailable"
    assert "retry-after" in answer.headers
    await gate.sign_in.settle()
    await rates.close()


async def test_reads_have_a_limit_of_their_own(door: Door) -> None:
    await door.statuses(6)
    answer = await door.ask("GET")
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == '"reads";q=100;w=86400'
    preview = await door.ask(path="/api/v1/schedules:preview")
    assert preview.headers["ratelimit-policy"].startswith('"reads"')


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_whoever_watches_the_node_is_never_refused(door: Door, path: str) -> None:
    for _ in range(110):
        answer = await door.ask("GET", path)
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers


@pytest.mark.parametrize("text", ["100/minute", "5 per second", "1000/2 hours", "off", "OFF"])
def test_rates_that_can_be_read(text: str) -> None:
    assert (read_rate(text) is None) == (text.lower() == "off")


@pytest.mark.parametrize("text", ["", "100", "0/minute", "-1/minute", "a/minute", "100/eon"])
def test_rates_that_cannot(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        read_rate(text)


# --- over several nodes


@pytest.fixture(scope="module")
def server() -> RedisServer:
    return RedisServer(password="geheim").start()


async def test_nodes_with_a_redis_count_together(server: RedisServer) -> None:
    one, other = Rates(redis=server.url, prefix="a"), Rates(redis=server.url, prefix="a")
    elsewhere = Rates(redis=server.url, prefix="b")
    doors = [Door(one), Door(other)]
    found = [(await doors[n % 2].ask()).status_code for n in range(7)]
    assert found == [201] * 5 + [429] * 2
    assert await Door(elsewhere).statuses(1) == [201]
    for rates in (one, other, elsewhere):
        await rates.close()


UNKNOWN = {"X-API-Key": "tcs_zzzzzzzz_" + "z" * 43}


async def test_who_guesses_is_slowed_down_on_all_nodes(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node by itself would let as many pass again."""
    store = MemoryStore()
    monkeypatch.setattr("tocsin.api.rates.FAILURES", read_rate("10/day"))
    nodes = []
    for prefix in ("g", "g", "h"):
        rates = Rates(redis=server.url, prefix=prefix)
        gate = make_guarded(store)
        gate.guesses._others = rates
        nodes.append((gate, rates))
    (one, _), (two, _), (elsewhere, _) = nodes
    await one.begin()
    fresh = await one.make()
    found = [
        (await gate.anonymous.get(JOBS, headers=UNKNOWN)).status_code
        for _ in range(5)
        for gate in (one, two)
    ]
    assert found == [401] * FREE
    for gate in (one, two):
        answer = await gate.anonymous.get(JOBS, headers=UNKNOWN)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
        assert int(answer.headers["retry-after"]) >= 1
        signing_in = {"json": {"key": UNKNOWN["X-API-Key"]}}
        assert (await gate.anonymous.post("/api/v1/session", **signing_in)).status_code == 429
    # A right guess is not told from a wrong one; who was there before goes on.
    assert (await two.client(fresh["key"]).get(JOBS)).status_code == 429
    assert (await one.api.client.get(JOBS)).status_code == 200
    assert (await elsewhere.anonymous.get(JOBS, headers=UNKNOWN)).status_code == 401
    for gate, rates in nodes:
        await gate.sign_in.settle()
        await rates.close()


async def test_guesses_are_counted_here_while_redis_is_away() -> None:
    server = RedisServer()
    rates = Rates(redis=server.url)
    gate = make_guarded(MemoryStore())
    gate.guesses._others = rates
    await gate.begin()
    for _ in range(FREE):
        assert (await gate.anonymous.get(JOBS, headers=UNKNOWN)).status_code == 401
    assert (await gate.anonymous.get(JOBS, headers=UNKNOWN)).status_code == 429
    await rates.close()
    server.close()


async def test_without_its_redis_a_node_counts_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.api.rates.REDIS_PAUSE", 0.0)
    server = RedisServer().start()
    rates = Rates(redis=server.url)
    door = Door(rates)
    assert await door.statuses(5) == [201] * 5
    server.kill()
    assert await door.statuses(6) == [201] * 5 + [429]
    server.start()
    answers = await door.statuses(6)
    assert answers == [201] * 5 + [429], "the counts are those of the new server"
    await rates.close()
    server.close()


async def test_a_redis_that_was_never_there_stops_nothing() -> None:
    server = RedisServer()
    rates = Rates(redis=server.url)
    assert await Door(rates).statuses(6) == [201] * 5 + [429]
    await rates.close()
    server.close()


async def test_redis_by_tls_is_verified(tmp_path: Path) -> None:
    server = redis_with_tls(tmp_path).start()
    trusting, strange = Rates(redis=server.url), Rates(redis=server.url.partition("?")[0])
    one, other = Door(trusting), Door(strange)
    assert await one.statuses(5) == [201] * 5
    assert await other.statuses(1) == [201], "a server that is not trusted is not counted with"
    assert await one.statuses(1) == [429]
    assert server.client().dbsize() > 0
    for rates in (trusting, strange):
        await rates.close()
    server.close()
