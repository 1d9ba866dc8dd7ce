"""The peers, each as its documentation would have it; why is told where the setting is made."""

import contextlib
import functools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from tests.support.process import wait_until

from bench.peers import redis
from bench.peers.peer import Peer, Running, Seconds, Setup
from bench.peers.program import HERE, PROGRAMS, Program, node, python


class APScheduler(Peer):
    """APScheduler 3, jobs in memory."""

    name = "apscheduler-memory"
    title = "APScheduler, in memory"
    seconds = Seconds.SPREAD
    tells_fire = False
    waits_for_store = False
    keeps_record = False
    batches = False
    creation_rate = 2_500
    defaults: ClassVar[dict[str, Any]] = {"connections": 50}
    note = "nothing survives the process"

    @contextlib.contextmanager
    def open(self, setup: Setup) -> Iterator[Running]:
        """One process does all of it."""
        with contextlib.ExitStack() as stack:
            program = _python(setup, stack, "apscheduler_program", sqlite=self._file(setup.home))
            program.wait_ready()
            yield Running(control=program, schedulers=[program], at_once={"single": 1, "batch": 1})

    def _file(self, home: Path) -> str:
        return ""

    def versions(self) -> str:
        """Of the package."""
        return f"APScheduler {_of_python('apscheduler')}, aiohttp {_of_python('aiohttp')}"


class APSchedulerSQLite(APScheduler):
    """APScheduler 3, jobs in a SQLite file."""

    name = "apscheduler-sqlite"
    title = "APScheduler, SQLite"
    slow = True
    creation_rate = 500
    note = "keeps jobs, not what ran"

    def _file(self, home: Path) -> str:
        return str(home / "jobs.db")


class Celery(Peer):
    """Celery with Redis."""

    name = "celery"
    title = "Celery, Redis"
    slow = True
    seconds = Seconds.DRIFTING
    waits_for_store = False
    keeps_record = False
    batches = False
    creation_rate = 1_000
    defaults: ClassVar[dict[str, Any]] = {"processes": 2, "connections": 200, "prefetch": 64}
    note = "Redis is not durable; no results kept"

    @contextlib.contextmanager
    def open(self, setup: Setup) -> Iterator[Running]:
        """Workers with the gevent pool, for calls that wait for others, and beat."""
        options = setup.options
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(redis.server(setup.home))
            ready = setup.home / "ready"
            config = {
                "receiver": setup.receiver.url(""),
                "redis": f"redis://127.0.0.1:{server.port}/0",
                "connections": options["connections"],
                "prefetch": options["prefetch"],
                "per_second_jobs": setup.per_second_jobs,
                "ready": str(ready),
            }
            env = {"PEER": json.dumps(config), "PYTHONPATH": str(PROGRAMS)}
            celery = [python(), "-m", "celery", "-A", "celery_app"]
            programs = []
            for number in range(options["processes"]):
                # Gossip, mingling and heartbeats between workers cost and are of no use here.
                command = [
                    *celery, "worker", "--pool", "gevent", "--concurrency",
                    str(options["connections"]), "--without-gossip", "--without-mingle",
                    "--without-heartbeat", "--loglevel", "WARNING", "--hostname", f"w{number}@%h",
                ]  # fmt: skip
                programs.append(_program(setup, stack, command, f"celery-{number}", env))

            def started() -> bool:
                for program in programs:
                    program.assert_alive()
                return len(list(setup.home.glob("ready.*"))) == len(programs)

            wait_until(started, "the workers are ready")
            if setup.per_second_jobs:
                command = [*celery, "beat", "--loglevel", "WARNING"]
                programs.append(_program(setup, stack, command, "celery-beat", env))
            control = _python(setup, stack, "celery_control", **config)
            control.wait_ready()
            yield Running(
                control=control,
                schedulers=programs,
                stores=[server.pid],
                at_once={"single": 1, "batch": 1},
            )

    def versions(self) -> str:
        """Of the packages and the server."""
        return f"Celery {_of_python('celery')}, urllib3 {_of_python('urllib3')}, {redis.version()}"


class Procrastinate(Peer):
    """procrastinate on PostgreSQL."""

    name = "procrastinate"
    title = "procrastinate, PostgreSQL"
    slow = True
    against = "tocsin-pg"
    seconds = Seconds.TOGETHER
    creation_rate = 2_000
    defaults: ClassVar[dict[str, Any]] = {
        "processes": 2, "concurrency": 50, "pool": 10, "poll_seconds": 0.2,
    }  # fmt: skip
    note = "each job is fetched by a query of its own"

    @contextlib.contextmanager
    def open(self, setup: Setup) -> Iterator[Running]:
        """Workers of one kind, and a program that creates."""
        with contextlib.ExitStack() as stack:
            url, stores = _database(setup, stack)
            config = {"postgres": url, "per_second_jobs": setup.per_second_jobs, **setup.options}
            name = "procrastinate_program"
            control = _python(setup, stack, name, role="control", **config)
            control.wait_ready()
            workers = [
                _python(setup, stack, name, number, role="worker", **config)
                for number in range(setup.options["processes"])
            ]
            for worker in workers:
                worker.wait_ready()
            yield Running(control=control, schedulers=workers, stores=stores)

    def versions(self) -> str:
        """Of the package."""
        return f"procrastinate {_of_python('procrastinate')}, aiohttp {_of_python('aiohttp')}"


class _OnNode(Peer):
    program: ClassVar[str]

    @contextlib.contextmanager
    def open(self, setup: Setup) -> Iterator[Running]:
        """Workers of one kind, and a program that creates."""
        with contextlib.ExitStack() as stack:
            store, stores = self._store(setup, stack)
            config = {**store, **setup.options}
            control = _node(setup, stack, self.program, role="control", **config)
            control.wait_ready()
            workers = [
                _node(setup, stack, self.program, number, role="worker", **config)
                for number in range(setup.options["processes"])
            ]
            for worker in workers:
                worker.wait_ready()
            yield Running(control=control, schedulers=workers, stores=stores)

    def _store(self, setup: Setup, stack: contextlib.ExitStack) -> tuple[dict[str, Any], list[int]]:
        url, stores = _database(setup, stack)
        return {"postgres": url}, stores


class GraphileWorker(_OnNode):
    """graphile-worker on PostgreSQL."""

    name = "graphile-worker"
    title = "graphile-worker, PostgreSQL"
    against = "tocsin-pg"
    program = "graphile"
    keeps_record = False
    creation_rate = 10_000
    defaults: ClassVar[dict[str, Any]] = {
        "processes": 1, "concurrency": 100, "connections": 100, "pool": 25, "local_queue": 500,
        "poll_ms": 100,
    }  # fmt: skip
    note = "keeps no record of what ran; cron by the minute"

    def versions(self) -> str:
        """Of the packages."""
        return f"graphile-worker {_of_node('graphile-worker')}, undici {_of_node('undici')}"


class PgBoss(_OnNode):
    """pg-boss on PostgreSQL."""

    name = "pg-boss"
    title = "pg-boss, PostgreSQL"
    against = "tocsin-pg"
    program = "pgboss"
    creation_rate = 5_000
    defaults: ClassVar[dict[str, Any]] = {
        "processes": 1, "concurrency": 2, "batch": 500, "connections": 200, "pool": 10,
    }  # fmt: skip
    note = "cron by the minute; polls every 0.5 s at most"

    def versions(self) -> str:
        """Of the packages."""
        return f"pg-boss {_of_node('pg-boss')}, undici {_of_node('undici')}"


class BullMQ(_OnNode):
    """BullMQ with Redis."""

    name = "bullmq"
    title = "BullMQ, Redis"
    program = "bullmq"
    seconds = Seconds.SPREAD
    creation_rate = 5_000
    defaults: ClassVar[dict[str, Any]] = {
        "processes": 2, "concurrency": 100, "connections": 100,
    }  # fmt: skip
    note = "Redis is not durable"

    def _store(self, setup: Setup, stack: contextlib.ExitStack) -> tuple[dict[str, Any], list[int]]:
        server = stack.enter_context(redis.server(setup.home))
        return {"redis_port": server.port}, [server.pid]

    def versions(self) -> str:
        """Of the packages and the server."""
        return f"BullMQ {_of_node('bullmq')}, undici {_of_node('undici')}, {redis.version()}"


def _database(setup: Setup, stack: contextlib.ExitStack) -> tuple[str, list[int]]:
    """An empty database of the durable server, and the process id of that."""
    server = setup.bench.server
    url = server.create()
    stack.callback(server.drop, url)
    return url, [server.pid]


def _program(
    setup: Setup,
    stack: contextlib.ExitStack,
    command: list[str],
    name: str,
    env: dict[str, str] | None = None,
) -> Program:
    program = Program(command, home=setup.home, name=name, env=env)
    stack.callback(program.close)
    return program


def _python(
    setup: Setup, stack: contextlib.ExitStack, program: str, number: int = 0, **config: Any
) -> Program:
    config = {"receiver": setup.receiver.url(""), **setup.options, **config}
    command = [python(), str(PROGRAMS / f"{program}.py"), json.dumps(config)]
    return _program(setup, stack, command, f"{program}-{config.get('role', '')}-{number}")


def _node(
    setup: Setup, stack: contextlib.ExitStack, program: str, number: int = 0, **config: Any
) -> Program:
    config = {"receiver": setup.receiver.url(""), **config}
    command = [node(), str(PROGRAMS / f"{program}.mjs"), json.dumps(config)]
    return _program(setup, stack, command, f"{program}-{config['role']}-{number}")


@functools.cache
def _of_python(package: str) -> str:
    code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    shown = subprocess.run(
        [python(), "-c", code, package], capture_output=True, text=True, check=True
    )
    return shown.stdout.strip()


@functools.cache
def _of_node(package: str) -> str:
    node()  # says what to do where nothing is installed
    found = json.loads((HERE / "node_modules" / package / "package.json").read_text())
    return str(found["version"])
