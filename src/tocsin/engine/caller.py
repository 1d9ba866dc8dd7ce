"""What the engine needs of delivery: one call, judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tocsin.domain.execution import Attempt
from tocsin.domain.instant import Millis
from tocsin.store.port import Claim


@dataclass(slots=True)
class CallResult:
    """How a call ended."""

    attempt: Attempt
    request_written: bool
    """Whether a single byte of the request may have left this machine."""
    retry_after: Millis | None = None
    """How long the answer asked to wait (``Retry-After``)."""


class NotStarted(Exception):
    """A call ended before a byte of it had left, because the node cannot prove its lease."""


class CallUnderWay(Protocol):
    """A call that was begun."""

    def abort(self) -> None:
        """Stop it at once; its end is not told any more."""


Ended: TypeAlias = Callable[[CallResult | Exception], None]


class Caller(Protocol):
    """Makes the call that a claimed execution stands for."""

    def begin(self, claim: Claim, ended: Ended) -> CallUnderWay | None:
        """Make the next attempt without a task, where that is possible at once.

        ``None``, and nothing has happened, where it is not: ``call`` makes it then. ``ended`` is
        called once, later, with what ``call`` would have returned or raised. ``NotStarted`` is
        raised as by ``call``.
        """

    async def call(self, claim: Claim) -> CallResult:
        """Make the next attempt; whatever goes wrong is in the result.

        A cancelled task raises ``CancelledError``; the call is aborted then. ``NotStarted`` says
        that there was no attempt: time has passed while the connection was made, and with it the
        lease.
        """
