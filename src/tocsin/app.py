"""From settings to a running process: what is opened, in which order, and what ends it."""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from tocsin import databases
from tocsin.api.access_schemas import key_json
from tocsin.domain.errors import InvalidInput, StoreFull, StoreUnavailable, TocsinError
from tocsin.engine.timekeeper import clock_for
from tocsin.listening import listen, url_of
from tocsin.node import Node, end_at_once
from tocsin.processes.launch import child_command
from tocsin.processes.role import Role, take_role
from tocsin.processes.supervisor import SUPPORTED, Supervisor
from tocsin.services.ids import Uuid7
from tocsin.services.keys import KeyService
from tocsin.settings import Settings
from tocsin.store.port import Store
from tocsin.telemetry.logging import configure_logging, flush_logging

log = structlog.stdlib.get_logger("tocsin")

SWITCH_INTERVAL = 0.001
"""Seconds until a thread that computes lets another one go on. The store works in threads; with
Python's default of 5 ms each of its stretches could make calls leave so much later."""


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code of the process.

    With several ``processes`` this one supervises them. Raises ``InvalidInput`` for a setting that
    only turns out here to be unusable.
    """
    role = take_role()
    alone = role is None and settings.processes == 1
    configure_logging(
        level=settings.log_level,
        format=settings.log_format,
        file=settings.log_file,
        file_bytes=settings.log_file_bytes,
        file_count=settings.log_file_count,
        process=None if alone else settings.node_name,
    )
    try:
        if role is None and not alone:
            return asyncio.run(_supervise(settings))
        sys.setswitchinterval(SWITCH_INTERVAL)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, role))
    except InvalidInput:
        raise
    except (TocsinError, OSError) as error:
        code = error.code if isinstance(error, TocsinError) else "os_error"
        log.error("start.failed", code=code, error=str(error))  # noqa: TRY400  # said, not a bug
        return 1
    finally:
        flush_logging()
    return 0


def migrate(settings: Settings) -> None:
    """Bring the tables to the version of this program; raises a ``StoreError``."""
    databases.migrate(settings.database)


def check_migrations(settings: Settings) -> None:
    """Raise ``SchemaMismatch`` where a migration is due; changes nothing."""
    databases.check(settings.database)


def make_key(settings: Settings, given: Any, *, name: str = "") -> dict[str, Any]:
    """Make a key with nothing but the database: as ``given``, or an admin's of that ``name``.

    Its representation, as the API answers it. Raises ``TocsinError``.
    """

    async def make() -> dict[str, Any]:
        store = databases.make_store(
            settings.database, prepare=settings.database_prepare, lease_ttl=settings.lease_ttl
        )
        await store.open()
        try:
            clock = await clock_for(store)
            keys = KeyService(store=store, now=clock.now, new_id=Uuid7(clock.now))
            made = await (keys.recover(name) if given is None else keys.create(given))
            return {**key_json(made.key, clock.now()), "key": made.secret}
        finally:
            await store.close()

    return asyncio.run(make())


async def _supervise(settings: Settings) -> int:
    """What is done once for all processes, then their supervision."""
    if not SUPPORTED:
        raise InvalidInput.of("processes", "only one is possible on this system", "not_supported")
    listener = listen(settings.host, settings.port)
    with contextlib.closing(listener):
        await _when_up(settings, lambda: asyncio.to_thread(databases.migrate, settings.database))
        log.info("supervising", url=url_of(listener, settings), processes=settings.processes)
        return await Supervisor(
            count=settings.processes,
            launch=lambda number: child_command(_settings_of_child(settings, number)),
            listener=listener,
            # The stop of a node has no part that is longer than the grace or the lease.
            patience=(3 * settings.shutdown_grace + settings.lease_ttl) / 1_000 + 30,
        ).run(flush_logging)


async def _serve(settings: Settings, role: Role | None) -> None:
    if role is None:
        listener = listen(settings.host, settings.port)
    else:
        listener = socket.socket(fileno=role.listener)
    with contextlib.closing(listener):
        url = url_of(listener, settings)
        store = await _open_store(settings, migrate=role is None)
        try:
            # A file that cannot be written to is better refused now than at the first fire; a
            # full disk is waited for, as while running.
            with contextlib.suppress(StoreFull):
                await store.ping()
            await Node(settings, store, url, await clock_for(store), role).run(listener)
        finally:
            await store.close()


async def _open_store(settings: Settings, *, migrate: bool) -> Store:
    """The store, with its tables up to date; a server that is not up yet is waited for."""
    store = databases.make_store(
        settings.database, prepare=settings.database_prepare, lease_ttl=settings.lease_ttl
    )

    async def try_to_open() -> None:
        if migrate:
            await asyncio.to_thread(databases.migrate, settings.database)
        await store.open()

    await _when_up(settings, try_to_open)
    return store


async def _when_up(settings: Settings, act: Callable[[], Awaitable[object]]) -> None:
    """Do something as soon as the database server answers."""
    # Nobody else does it yet, and the first process of a container does not die of it by itself.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end_at_once, signal.SIGTERM)
    give_up = time.monotonic() + settings.database_wait / 1_000
    while True:
        try:
            await act()
        except StoreUnavailable as error:
            if time.monotonic() >= give_up or databases.kind_of(settings.database) == "sqlite":
                raise
            log.warning("store.waiting", error=str(error))
            await asyncio.sleep(1)
        else:
            return


def _settings_of_child(settings: Settings, number: int) -> dict[str, Any]:
    """What is given to a child: what was given to this process, with a name and a log of its own.

    Two processes that rotate one log file would lose lines.
    """
    given = settings.model_dump(mode="json", include=settings.model_fields_set)
    given["node_name"] = f"{settings.node_name[:97]}-{number}"
    if settings.log_file is not None:
        path = Path(settings.log_file)
        given["log_file"] = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    return given


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.Loop
