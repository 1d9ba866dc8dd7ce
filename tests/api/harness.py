"""The API over a store, without an engine: a clock by hand, the bus's news, and a client."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.requests import Request

from tests.support import build
from tests.support.build import HOUR, NOW
from tocsin.api.app import create_api
from tocsin.api.auth import Caller, Gate, anybody
from tocsin.api.context import ApiContext, BodyLimits, Check
from tocsin.api.eventlog import EventLog
from tocsin.api.needs import Need
from tocsin.api.open_gate import OpenGate
from tocsin.delivery.shown import shown_request
from tocsin.domain.execution import Attempt, Execution
from tocsin.domain.instant import Millis
from tocsin.domain.planning import plan_fires
from tocsin.domain.settle import void
from tocsin.services.audit import AuditService
from tocsin.services.cluster import ClusterService
from tocsin.services.definitions import JobDefaults
from tocsin.services.executions import ExecutionService
from tocsin.services.ids import Uuid7
from tocsin.services.insights import InsightService
from tocsin.services.jobs import JobService
from tocsin.services.keys import KeyService
from tocsin.services.sealing import Sealer
from tocsin.services.secrets import SecretService
from tocsin.services.sign_in import SignIn
from tocsin.services.stats import StatsService
from tocsin.services.trials import TrialService
from tocsin.services.vault import Vault
from tocsin.store.bus import Bus, JobsChanged, News
from tocsin.store.port import Claim, Limits, Store
from tocsin.telemetry.metrics import Metrics

JOB: dict[str, Any] = {"schedule": {"every": "15m"}, "target": {"url": "https://example.com/hook"}}
"""As little as a job can be."""

JOBS = "/api/v1/jobs"
EXECUTIONS = "/api/v1/executions"
KEYS = "/api/v1/keys"


class Everybody(OpenGate):
    """Lets everybody in as an admin, under whatever host: who may do what is tested elsewhere."""

    async def admit(self, request: Request, need: Need) -> Caller:
        caller = await self.peek(request)
        assert caller is not None
        return caller

    async def peek(self, request: Request) -> Caller | None:
        return anybody(request)


@dataclass
class Clock:
    """The time, moved by hand."""

    now: Millis = NOW

    def __call__(self) -> Millis:
        return self.now


@dataclass
class Api:
    """A running API and what is around it."""

    client: httpx.AsyncClient
    store: Store
    context: ApiContext
    clock: Clock
    bus: Bus
    news: list[News] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    tried: list[Claim] = field(default_factory=list)
    """Calls that were to be made at once."""

    async def ask(
        self, method: str, path: str, *, status: int = 200, **options: Any
    ) -> httpx.Response:
        """Make a request that is to be answered with a status."""
        answer = await self.client.request(method, path, **options)
        assert answer.status_code == status, f"{answer.status_code}: {answer.text[:2_000]}"
        if status >= 400 and not path.startswith(("/readyz", "/api/v1/demo")):
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status
        return answer

    async def create(self, **fields: Any) -> dict[str, Any]:
        """A new job."""
        answer = await self.ask("POST", JOBS, status=201, json={**JOB, **fields})
        job: dict[str, Any] = answer.json()
        return job

    async def get(self, path: str, **params: Any) -> Any:
        """The JSON of a resource."""
        return (await self.ask("GET", path, params=params)).json()

    async def problems(
        self, method: str, path: str, *, status: int = 422, **options: Any
    ) -> list[tuple[str, str]]:
        """The fields and codes that a request is refused for."""
        answer = await self.ask(method, path, status=status, **options)
        return [(one["field"], one["code"]) for one in answer.json()["errors"]]

    async def claim(self, *, at: Millis | None = None, ahead: Millis = 0) -> Sequence[Claim]:
        """Claim what is due, as a node does."""
        at = self.clock.now if at is None else at
        if not any(node.incarnation == "inc-a" for node in await self.store.nodes()):
            await self.store.register(build.node(now=at))
        claimed = await self.store.claim(build.claim_request(at, ahead=ahead), plan_fires)
        return claimed.claims

    async def record(self, *results: Execution) -> None:
        """Record what came of claims."""
        await self.store.record("inc-a", results, now=self.clock.now, void=void)

    async def run(self, *, ok: bool = True) -> list[Execution]:
        """Claim what is due and let all of it succeed or fail."""
        settle = build.succeed if ok else build.fail
        results = [settle(claim, self.clock.now) for claim in await self.claim()]
        await self.record(*results)
        return results

    def changes(self) -> list[str]:
        """The words of the job changes that were published."""
        return [one.change for one in self.news if isinstance(one, JobsChanged)]


@asynccontextmanager
async def serving(store: Store, **options: Any) -> AsyncIterator[Api]:
    """The API over an open store, as ``make_api`` makes it."""
    api = make_api(store, **options)
    async with api.client:
        yield api


def make_api(
    store: Store,
    *,
    limits: Limits | None = None,
    body_limits: BodyLimits | None = None,
    defaults: JobDefaults | None = None,
    max_batch: int = 10_000,
    demo: bool = False,
    degraded_ratio: float = 0.1,
    incarnation: str = "inc-a",
    gate: Gate | None = None,
    sign_in: SignIn | None = None,
    clock: Clock | None = None,
    headers: Mapping[str, str] | None = None,
    master_key: bool = True,
    ui: Path | None = None,
    attempt: Attempt | None = None,
    **options: Any,
) -> Api:
    """The API over an open store."""
    clock, bus = clock or Clock(), Bus()
    limits = limits or Limits(max_jobs=10_000, max_bytes=100_000_000)
    new_id = Uuid7(clock)
    checks = [Check(name="store", ok=True)]

    async def readiness() -> Sequence[Check]:
        return checks

    sign_in = sign_in or SignIn(store=store, now=clock, new_id=new_id, lifetime=HOUR)
    sealer = Sealer([b"k" * 32]) if master_key else None
    vault = Vault(store=store, sealer=sealer, now=clock)
    secrets = SecretService(store=store, vault=vault, sealer=sealer, now=clock, new_id=new_id)
    tried: list[Claim] = []

    async def call(claim: Claim) -> Attempt | None:
        tried.append(claim)
        return attempt

    context = ApiContext(
        gate=gate or Everybody(),
        keys=KeyService(store=store, now=clock, new_id=new_id, forget=sign_in.forget),
        audit=AuditService(store=store),
        namespaces=store.namespaces,
        jobs=JobService(
            store=store,
            bus=bus,
            now=clock,
            new_id=new_id,
            limits=limits,
            defaults=defaults or JobDefaults(),
            max_batch=max_batch,
            vault=vault,
            ensure_signing=secrets.ensure_signing,
        ),
        executions=ExecutionService(store=store, bus=bus, now=clock, new_id=new_id),
        stats=StatsService(store=store, now=clock, limits=limits, degraded_ratio=degraded_ratio),
        cluster=ClusterService(
            store=store,
            now=clock,
            node_name="node-a",
            incarnation=lambda: incarnation,
            database="sqlite",
            schema_revision="0001",
        ),
        secrets=secrets,
        insights=InsightService(store=store, now=clock),
        trials=TrialService(
            call=call,
            show=shown_request,
            now=clock,
            defaults=defaults or JobDefaults(),
            store=store,
            new_id=new_id,
            ensure_signing=secrets.ensure_signing,
        ),
        ui=ui,
        events=EventLog(bus, incarnation="boot", capacity=100),
        metrics=Metrics(version="0.0.test", node="node-a"),
        readiness=readiness,
        now=clock,
        version="0.0.test",
        body_limits=body_limits or BodyLimits(),
        demo=demo,
        **options,
    )
    transport = httpx.ASGITransport(app=create_api(context))
    client = httpx.AsyncClient(
        transport=transport, base_url="http://tocsin.test", headers=dict(headers or {})
    )
    api = Api(client, store, context, clock, bus, checks=checks, tried=tried)
    bus.listen(api.news.append)
    return api
