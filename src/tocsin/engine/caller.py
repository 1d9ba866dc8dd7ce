"""What the engine needs of delivery: one call, judged."""

from dataclasses import dataclass
from typing import Protocol

from tocsin.domain.execution import Attempt
from tocsin.domain.instant import Millis
from tocsin.store.port import Claim


@dataclass(frozen=True, kw_only=True, slots=True)
class CallResult:
    """How a call ended."""

    attempt: Attempt
    request_written: bool
    """Whether a single byte of the request may have left this machine."""
    retry_after: Millis | None = None
    """How long the answer asked to wait (``Retry-After``)."""


class NotStarted(Exception):
    """A call ended before a byte of it had left, because the node cannot prove its lease."""


class Caller(Protocol):
    """Makes the call that a claimed execution stands for."""

    async def call(self, claim: Claim) -> CallResult:
        """Make the next attempt; whatever goes wrong is in the result.

        A cancelled task raises ``CancelledError``; the call is aborted then. ``NotStarted`` says
        that there was no attempt: time has passed while the connection was made, and with it the
        lease.
        """
