"""A call without a task: over a connection that is idle, to one place, ended by a callback."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import structlog

from tocsin.delivery.http.connection import Connection
from tocsin.delivery.http.message import CallFailed, HttpOutcome, Sending, Unreached
from tocsin.delivery.http.outcome import failed, outcome_of
from tocsin.delivery.http.pool import Pool
from tocsin.delivery.http.trace import Trace

log = structlog.stdlib.get_logger("tocsin.delivery")


class Client(Protocol):
    """What such a call needs of its client."""

    pool: Pool

    async def exchange_anew(
        self, sending: Sending, trace: Trace, unreached: CallFailed
    ) -> Connection:
        """Make the exchange on another connection; ``unreached`` is the failure of the first one.

        Raises `CallFailed`.
        """
        ...


class Express(Trace):
    """One such call; its connection's exchange tells it of the end.

    The task that it does without takes as long as all the rest of a call. It is its own trace,
    since one object takes less than two.
    """

    __slots__ = ("_client", "_connection", "_ended", "_over", "_sending", "_task")

    def __init__(
        self,
        sending: Sending,
        connection: Connection,
        client: Client,
        ended: Callable[[HttpOutcome], None],
    ) -> None:
        self.began = self.written_at = perf_counter()
        self.opening = None
        self.written = True
        self.reader = connection.reader
        self._sending = sending
        self._connection = connection
        self._client = client
        self._ended = ended
        self._over = False
        self._task: asyncio.Task[None] | None = None

    def abort(self) -> None:
        """Close the connection at once; ``ended`` is not called."""
        if self._over:
            return
        self._over = True
        if self._task is not None:
            self._task.cancel()
        else:
            self._connection.abort()
            self._client.pool.release(self._connection)

    # What the connection calls.

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._over

    def set_result(self, _: None, /) -> None:
        """Take the answer."""
        self._over = True
        try:
            outcome = outcome_of(self)
        except Exception as error:  # noqa: BLE001  # a bug of ours
            outcome = self._broken(error)
        # First, so that the next call can have the connection.
        self._client.pool.release(self._connection)
        self._tell(outcome)

    def set_exception(self, failure: CallFailed, /) -> None:
        """Take it that there is none, or try again where the connection was stale."""
        self._client.pool.release(self._connection)
        if stale(self._connection, failure):
            self._task = asyncio.get_running_loop().create_task(self._once_more(failure))
            return
        self._over = True
        self._tell(failed(self, failure, self._sending.timeout))

    async def _once_more(self, unreached: CallFailed) -> None:
        try:
            connection = await self._client.exchange_anew(self._sending, self, unreached)
            try:
                outcome = outcome_of(self)
            finally:
                self._client.pool.release(connection)
        except CallFailed as failure:
            outcome = failed(self, failure, self._sending.timeout)
        except Exception as error:  # noqa: BLE001  # a bug of ours
            outcome = self._broken(error)
        self._over = True
        self._tell(outcome)

    def _broken(self, error: Exception) -> HttpOutcome:
        """What waits for the call must hear of its end all the same."""
        log.error("call.broken", place=self._sending.url.place, exc_info=error)
        self.reader = None  # It may be what cannot be told of.
        bug = CallFailed("protocol", f"the call could not be made ({type(error).__name__})")
        return failed(self, bug, self._sending.timeout)

    def _tell(self, outcome: HttpOutcome) -> None:
        try:
            self._ended(outcome)
        except Exception:
            # The connection is not to blame, and would be closed by its transport.
            log.exception("call.broken", place=self._sending.url.place)


def stale(connection: Connection, failure: CallFailed) -> bool:
    """Whether the peer closed an idle connection while the request was on its way to it.

    The request is sent once more then.  Where the peer may have got it, that is the job's affair,
    whose retries say what is to be done.
    """
    return connection.used > 1 and isinstance(failure, Unreached)
