"""Messages between the nodes of one database, as notifications of PostgreSQL.

They are hints: behind a pooler in transaction mode none arrives, while a connection is being made
anew some are lost, and everything goes on at the speed of polling.
See https://www.postgresql.org/docs/current/sql-notify.html.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import structlog

from tocsin.store.postgres.database import conninfo, shown
from tocsin.store.postgres.errors import wrapped

log = structlog.stdlib.get_logger("tocsin.store")

CHANNEL = "tocsin"

PAUSE = 1.0
"""Seconds between two tries to connect."""

STUCK_FOR = 10_000
"""Milliseconds after which the server hangs up on a node that takes no messages any more. For as
long as one does not, the server keeps what all have sent since, and refuses more beyond 8 GB."""


class Notices:
    """Sends messages to all nodes of a database, and receives theirs and its own.

    ``receive`` is given each message, in the event loop; ``missed`` is told when some may have
    been lost.
    """

    def __init__(self, url: str) -> None:
        self._conninfo = conninfo(url)
        self._name = shown(url)
        self._sending: psycopg.AsyncConnection[Any] | None = None
        self._listening: asyncio.Task[None] | None = None
        self.receive: Callable[[bytes], None] = lambda _message: None
        self.missed: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to listen; a server that is away is waited for."""
        self._listening = asyncio.create_task(self._listen_on(), name="notices")

    async def stop(self) -> None:
        """Let go of the connections."""
        if self._listening is not None:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening
        await self._hang_up()

    async def send(self, message: bytes) -> None:
        """Send one message, of less than 8,000 bytes; raises a ``StoreError``."""
        try:
            if self._sending is None:
                self._sending = await self._connect()
            await self._sending.execute("SELECT pg_notify(%s, %s)", (CHANNEL, message.decode()))
        except BaseException as error:
            # Cut off in the middle, too: the connection waits for an answer that nobody reads.
            await self._hang_up()
            better = wrapped(error, self._name) if isinstance(error, Exception) else None
            if better is None:
                raise
            raise better from error

    async def _hang_up(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            with suppress(psycopg.Error):
                await sending.close()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, prepare_threshold=None
        )

    async def _listen_on(self) -> None:
        """Listen for ever, on one connection after the other."""
        first = True
        while True:
            try:
                async with await self._connect() as conn:
                    # What comes before the answer to LISTEN is read with it.
                    conn.add_notify_handler(lambda one: self.receive(one.payload.encode()))
                    await conn.execute(f"SET tcp_user_timeout = {STUCK_FOR}")
                    await conn.execute(f"LISTEN {CHANNEL}")
                    if not first:
                        self.missed()
                    first = False
                    while True:
                        await _readable(conn)
                        conn.pgconn.consume_input()
                        while (notice := conn.pgconn.notifies()) is not None:
                            self.receive(notice.extra)
            except Exception as error:  # noqa: BLE001  # without news it would go on for ever
                log.info(
                    "notices.interrupted", database=self._name, error=" ".join(str(error).split())
                )
            await asyncio.sleep(PAUSE)


async def _readable(conn: psycopg.AsyncConnection[Any]) -> None:
    """Wait until the server has sent something, or hangs up.

    The driver's ``notifies`` wakes ten times a second while it waits, a fifth of what an idle node
    takes of the CPU.
    """
    loop, descriptor = asyncio.get_running_loop(), conn.fileno()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        # Before anybody reads: that may close the connection, and its number be given to another.
        loop.remove_reader(descriptor)
