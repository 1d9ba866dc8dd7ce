"""One node: everything that one process consists of, made of its settings and tied together."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import uuid
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version as installed_version
from pathlib import Path
from urllib.parse import urlsplit

import structlog
import uvicorn

from tocsin import databases
from tocsin.api.app import create_api
from tocsin.api.auth import KeyGate
from tocsin.api.context import ApiContext, BodyLimits, Check
from tocsin.api.eventlog import EventLog
from tocsin.api.guesses import Guesses
from tocsin.api.open_gate import OpenGate
from tocsin.api.rates import Rates, read_rate
from tocsin.api.server import Server
from tocsin.api.throttle import by_key
from tocsin.delivery.deliver import Deliver
from tocsin.delivery.http import EgressGuard, HttpClient
from tocsin.delivery.shown import shown_request
from tocsin.demo import demo_jobs
from tocsin.domain.access import DEFAULT_NAMESPACE, EVERYWHERE
from tocsin.domain.egress import EgressRules
from tocsin.domain.errors import StoreError
from tocsin.domain.execution import Attempt
from tocsin.domain.job import Misfire, MisfirePolicy
from tocsin.domain.key import Rate
from tocsin.domain.proxy import ProxyRules
from tocsin.domain.retry import RetryPolicy
from tocsin.engine.caller import NotStarted
from tocsin.engine.clock import Clock, SharedClock
from tocsin.engine.engine import Engine, EngineOptions
from tocsin.engine.relay import Relay, Transport
from tocsin.first_key import ensure_first_key
from tocsin.master_key import make_sealer
from tocsin.news import RedisNews
from tocsin.open_files import raise_limit
from tocsin.processes.role import Line, Role
from tocsin.processes.siblings import Siblings
from tocsin.server_tls import ServerTls
from tocsin.services.audit import AuditService
from tocsin.services.cluster import ClusterService
from tocsin.services.definitions import JobDefaults
from tocsin.services.executions import ExecutionService
from tocsin.services.ids import Uuid7
from tocsin.services.insights import InsightService
from tocsin.services.jobs import JobService
from tocsin.services.keys import KeyService
from tocsin.services.pulse import Pulse
from tocsin.services.scope import Scope
from tocsin.services.secrets import SecretService
from tocsin.services.sign_in import SignIn
from tocsin.services.stats import StatsService
from tocsin.services.trials import TrialService
from tocsin.services.vault import Vault
from tocsin.settings import Settings, words_of
from tocsin.store.bus import Bus
from tocsin.store.migrations import HEAD as SCHEMA_REVISION
from tocsin.store.port import Claim, Limits, Store
from tocsin.telemetry.logging import flush_logging
from tocsin.telemetry.metrics import Metrics

log = structlog.stdlib.get_logger("tocsin")

UI = Path(__file__).parent / "ui" / "static"
"""Where ``make ui`` puts the pages, and where the wheel has them."""

GC_THRESHOLDS = (50_000, 20, 20)
"""A batch of jobs or results makes tens of thousands of objects that live until it is done; with
Python's defaults the collector walks them again and again. There are next to no cycles to find."""


class Node:
    """Everything that one process consists of."""

    def __init__(
        self, settings: Settings, store: Store, url: str, clock: Clock, role: Role | None
    ) -> None:
        self._settings = settings
        self._role = role
        self._line = None if role is None else Line(role)
        self._siblings = None if role is None else Siblings(role)
        self._store = store
        self._pulse = Pulse(store)
        self._url = url
        self._stopping = asyncio.Event()
        self._orphaned = False
        version = installed_version("tocsin")
        self._bus = Bus()
        egress = _egress_rules(settings, url)
        sealer = make_sealer(
            key=settings.secret_key,
            key_file=settings.secret_key_file,
            database=settings.database,
        )
        self._vault = Vault(store=store, sealer=sealer, now=clock.now)
        self._secrets = SecretService(
            store=store,
            vault=self._vault,
            sealer=sealer,
            now=clock.now,
            new_id=Uuid7(clock.now),
        )
        self._client = HttpClient(
            guard=EgressGuard(egress),
            connect_timeout=settings.connect_timeout / 1_000,
            idle_timeout=settings.idle_connection / 1_000,
            max_connections_per_origin=settings.max_in_flight_per_lane,
            max_idle=settings.max_in_flight,
            user_agent=f"tocsin/{version}",
            proxies=ProxyRules.read(settings.proxy, settings.no_proxy),
        )
        new_access_id = Uuid7(clock.now)
        metrics = self._metrics = Metrics(version=version, node=settings.node_name)
        self._deliver = Deliver(
            client=self._client,
            clock=clock,
            node_name=settings.node_name,
            max_response=settings.max_response,
            excerpt=settings.excerpt,
            may_send=lambda: self._engine.lease.held,
            vault=self._vault,
        )
        self._engine = Engine(
            store=store,
            caller=self._deliver,
            clock=clock,
            bus=self._bus,
            meter=metrics,
            new_id=lambda: str(uuid.uuid4()),
            new_entry_id=new_access_id,
            options=EngineOptions(
                node_name=settings.node_name,
                address=url,
                version=version,
                horizon=settings.claim_horizon,
                poll=settings.poll_interval,
                max_held=settings.max_held,
                max_in_flight=settings.max_in_flight,
                max_per_lane=settings.max_in_flight_per_lane,
                max_per_job=settings.max_in_flight_per_job,
                lease_ttl=settings.lease_ttl,
                heartbeat_interval=settings.heartbeat_interval,
                adopt_interval=settings.adopt_interval,
                shutdown_grace=settings.shutdown_grace,
                retention=settings.retention,
                audit_retention=settings.audit_retention,
                retention_interval=settings.retention_interval,
            ),
        )
        metrics.watch(
            in_flight=lambda: self._engine.dispatcher.in_flight,
            held=lambda: self._engine.dispatcher.held,
            lease_held=lambda: self._engine.lease.held,
            clock_offset=(
                (lambda: clock.offset_ms / 1_000) if isinstance(clock, SharedClock) else None
            ),
        )
        self._events = EventLog(
            self._bus, incarnation=uuid.uuid4().hex[:8], capacity=settings.events_kept
        )
        self._notices = databases.make_notices(settings.database) if settings.notify else None
        self._news: RedisNews | None = None
        self._relay = self._make_relay()
        limits = Limits(max_jobs=settings.max_jobs, max_bytes=settings.max_definition_bytes)
        new_job_id = Uuid7(clock.now)
        self._jobs = JobService(
            store=store,
            bus=self._bus,
            now=clock.now,
            new_id=new_job_id,
            limits=limits,
            defaults=_job_defaults(settings, egress),
            max_batch=settings.max_batch,
            vault=self._vault,
            ensure_signing=self._secrets.ensure_signing,
        )
        self._stats = StatsService(
            store=store, now=clock.now, limits=limits, degraded_ratio=settings.degraded_ratio
        )
        sign_in = self._sign_in = SignIn(
            store=store,
            now=clock.now,
            new_id=new_access_id,
            lifetime=settings.session_lifetime,
        )
        rate = read_rate(settings.rate_limit)
        self._keys = KeyService(
            store=store,
            now=clock.now,
            new_id=new_access_id,
            forget=sign_in.forget,
            rate=None if rate is None else Rate(amount=rate.amount, seconds=rate.get_expiry()),
        )
        trusted = words_of(settings.trusted_proxies)
        self._rates = Rates(redis=settings.redis)
        self._tls = (
            None
            if settings.tls_cert is None or settings.tls_key is None
            else ServerTls(settings.tls_cert, settings.tls_key)
        )
        api = create_api(
            ApiContext(
                gate=KeyGate(sign_in, Guesses(others=self._rates if self._rates.shared else None))
                if settings.auth == "on"
                else OpenGate(),
                keys=self._keys,
                audit=AuditService(store=store),
                namespaces=store.namespaces,
                cors_origins=words_of(settings.cors_origins),
                public_metrics=settings.public_metrics,
                jobs=self._jobs,
                executions=ExecutionService(
                    store=store, bus=self._bus, now=clock.now, new_id=new_job_id
                ),
                stats=self._stats,
                cluster=ClusterService(
                    store=store,
                    now=clock.now,
                    node_name=settings.node_name,
                    incarnation=lambda: self._engine.lease.incarnation,
                    database=databases.kind_of(settings.database),
                    schema_revision=SCHEMA_REVISION,
                ),
                secrets=self._secrets,
                insights=InsightService(store=store, now=clock.now),
                trials=TrialService(
                    call=self._try,
                    show=shown_request,
                    now=clock.now,
                    defaults=_job_defaults(settings, egress),
                    store=store,
                    new_id=new_access_id,
                    ensure_signing=self._secrets.ensure_signing,
                ),
                events=self._events,
                metrics=metrics,
                readiness=self._readiness,
                now=clock.now,
                version=version,
                body_limits=BodyLimits(body=settings.max_body, batch=settings.max_batch_body),
                sibling_metrics=None if self._siblings is None else self._siblings.metrics,
                rates=self._rates,
                rate=rate,
                identify=by_key(sign_in) if settings.auth == "on" else None,
                ui=UI,
                demo=settings.demo,
            )
        )
        tls = self._tls
        self._server = Server(
            uvicorn.Config(
                api,
                ws="none",
                ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
                log_config=None,
                access_log=False,
                server_header=False,
                # By itself uvicorn believes whatever comes from this machine.
                proxy_headers=bool(trusted),
                forwarded_allow_ips=list(trusted),
                lifespan="off",
                timeout_graceful_shutdown=5,
            ),
            # At least as many files are left for the calls.
            most=min(settings.max_connections, raise_limit() // 2),
            trusted=trusted,
            refused=lambda: metrics.rejected("connections"),
        )

    async def run(self, listener: socket.socket) -> None:
        """Serve and fire until told to stop; then finish what is under way."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        if self._line is not None:
            loop.add_reader(self._line.fileno(), self._supervisor_gone, self._line)
        try:
            for namespace in {DEFAULT_NAMESPACE, *await self._store.namespaces()}:
                await self._secrets.ensure_signing(namespace)
        except StoreError as error:  # a full disk, say: calls are not signed until it is made
            log.warning("signing.no_key", error=str(error), remedy="`tocsin signing show` makes it")
        upkeep = [asyncio.create_task(self._vault.run(), name="vault")]
        if self._tls is not None:
            upkeep.append(asyncio.create_task(self._tls.run(), name="tls"))
        if self._settings.auth == "on":
            # Each of several processes: only one makes it, but none may answer before it is made.
            await self._ensure_first_key()
        if self._settings.demo and (self._role is None or self._role.first):
            await self._add_demo_jobs()
        # What is alive by now stays: the collector need not look at it again and again.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        if self._siblings is not None:
            await self._siblings.open(
                receive=(lambda _: None) if self._relay is None else self._relay.receive,
                metrics=lambda: self._metrics.render_for_host(with_store=False),
            )
        if self._relay is not None:
            await self._relay.start()
        for way in (self._notices, self._news):
            if way is not None:
                await way.start()
        await self._engine.start()
        serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        stopping = asyncio.create_task(self._stopping.wait())
        if self._settings.auth == "off":
            log.warning(
                "auth.off",
                meaning="everybody who reaches this address may do everything, without a key",
                remedy="for experiments only; leave --auth off out",
            )
        log.info(
            "started", url=self._url, docs=f"{self._url}/api/docs", node=self._settings.node_name
        )
        if self._line is not None:
            self._line.say_started()
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping", in_flight=self._engine.dispatcher.in_flight)
        await self._engine.stop()
        self._events.close()
        self._server.end()
        stopping.cancel()
        await serving
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._sign_in.settle()
        await self._client.close()
        for task in upkeep:
            task.cancel()
        await self._rates.close()
        if self._relay is not None:
            await self._relay.stop()
        for way in (self._notices, self._news):
            if way is not None:
                await way.stop()
        if self._siblings is not None:
            self._siblings.close(orphaned=self._orphaned)
        log.info("stopped")

    def _make_relay(self) -> Relay | None:
        """How other nodes hear of changes; ``None`` where there are none, or it is not wanted.

        A database server carries the news to all hosts, and so to the processes of this one too.
        """
        transport: Transport | None = self._notices or self._siblings
        if transport is None or not self._settings.notify:
            return None
        if self._settings.redis is not None:
            transport = self._news = RedisNews(
                self._settings.redis,
                channel=f"tocsin:news:{urlsplit(self._settings.database).path}",
                fallback=transport,
            )
        relay = Relay(
            bus=self._bus,
            transport=transport,
            read_jobs=self._store.get_jobs,
            own=lambda: self._engine.lease.incarnation,
            has_readers=lambda: self._events.readers > 0,
        )
        self._events.on_reader = relay.want
        if self._notices is not None:
            self._notices.receive, self._notices.missed = relay.receive, relay.missed
        if self._news is not None:
            self._news.receive, self._news.missed = relay.receive, relay.missed
        return relay

    def _stop(self, number: signal.Signals) -> None:
        if self._stopping.is_set() and self._role is None:
            # Asked twice: whoever asks will not wait; the next start rescues what is under way.
            end_at_once(number)
        # A service manager may ask each process, and the supervisor asks it again: that is no
        # hurry. It has a way of its own to end a child at once.
        self._stopping.set()

    def _supervisor_gone(self, line: Line) -> None:
        asyncio.get_running_loop().remove_reader(line.fileno())
        self._orphaned = True
        if not self._stopping.is_set():
            log.error("supervisor.gone", remedy="this process stops; start Tocsin again")
            self._stopping.set()

    async def _try(self, claim: Claim) -> Attempt | None:
        try:
            return (await self._deliver.call(claim)).attempt
        except NotStarted:
            return None

    async def _readiness(self) -> Sequence[Check]:
        """What a firing node needs, one check each."""
        store_problem = await self._pulse.problem()
        engine_problems = self._engine.problems()
        return [
            Check(name="store", ok=not store_problem, detail=store_problem),
            Check(name="engine", ok=not engine_problems, detail="; ".join(engine_problems)),
            Check(
                name="running",
                ok=not self._stopping.is_set(),
                detail="this node is stopping" if self._stopping.is_set() else "",
            ),
        ]

    async def _ensure_first_key(self) -> None:
        settings = self._settings
        await ensure_first_key(
            self._store,
            self._keys.within(Scope(namespace=EVERYWHERE)),
            given=settings.bootstrap_key,
            url=self._url,
            tell=settings.log_format != "json",
            save=settings.demo,
        )

    async def _add_demo_jobs(self) -> None:
        usage = await self._store.usage()
        if usage.jobs == 0:
            saved = await self._jobs.create_batch({"jobs": demo_jobs(self._url)})
            log.info("demo.added", jobs=len(saved.fresh))


def end_at_once(number: signal.Signals) -> None:
    """End this process without finishing anything, as the signal by itself would."""
    log.warning("stopped.at_once", signal=number.name)
    flush_logging()
    os._exit(128 + number)


def _egress_rules(settings: Settings, url: str) -> EgressRules:
    """Where calls may go; those of the demonstration also to its own node."""
    return EgressRules.read(
        allow=settings.egress_allow,
        deny=settings.egress_deny,
        ports=settings.egress_ports,
        own=urlsplit(url).netloc if settings.demo else "",
    )


def _job_defaults(settings: Settings, egress: EgressRules) -> JobDefaults:
    return JobDefaults(
        why_never=lru_cache(maxsize=4_096)(egress.why_never),
        min_interval=settings.min_interval,
        timeout=settings.default_timeout,
        retry=RetryPolicy(
            max_attempts=settings.default_max_attempts,
            initial=settings.default_retry_initial,
            factor=settings.default_retry_factor,
            max=settings.default_retry_max,
            jitter=settings.default_retry_jitter,
        ),
        misfire=Misfire(policy=MisfirePolicy(settings.default_misfire)),
    )
