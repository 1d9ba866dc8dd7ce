"""When a failed attempt is tried again, and after how long."""

import hashlib
import sys
from dataclasses import dataclass, field
from functools import lru_cache

from tocsin.domain.codes import CodeRule
from tocsin.domain.instant import Millis

RETRY_AFTER_BOUND: Millis = 3_600_000
"""The longest wait that a ``Retry-After`` header is granted: one hour."""

NETWORK_KINDS = frozenset(
    {"blocked", "connection", "dns", "tls", "timeout", "protocol", "too_large"}
)
"""The words besides status rules that ``retry.on`` may hold."""


@lru_cache(maxsize=1_024)  # Millions of jobs share a handful.
def _parts_of(on: tuple[str, ...]) -> tuple[frozenset[str], CodeRule]:
    """The kinds of errors and the status rule in ``retry.on``; ``ValueError`` for what is none."""
    return NETWORK_KINDS.intersection(on), CodeRule(
        word for word in on if word not in NETWORK_KINDS
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Exponential backoff: the n-th retry waits ``initial`` times ``factor`` to the n-1."""

    max_attempts: int = 3
    """Attempts that count, the first included (1 .. 100); lost ones do not count."""
    initial: Millis = 1_000
    factor: float = 2.0
    max: Millis = 300_000
    jitter: float = 0.1
    """How far the delay is spread, as a part of it: 0.1 is up to 10 % shorter or longer."""
    on: tuple[str, ...] = ("connection", "dns", "timeout", "408", "425", "429", "5xx")
    _kinds: frozenset[str] = field(init=False, repr=False, compare=False)
    _codes: CodeRule = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds, codes = _parts_of(self.on)
        object.__setattr__(self, "_kinds", kinds)
        object.__setattr__(self, "_codes", codes)

    def retries(self, error_kind: str, status: int | None) -> bool:
        """Whether an attempt that ended so is of a kind that is tried again."""
        if error_kind == "http_status":
            return status in self._codes
        return error_kind in self._kinds

    def delay(self, retry: int, *, execution_id: str, retry_after: Millis | None = None) -> Millis:
        """How long the ``retry``-th retry (from 1) waits, in milliseconds.

        The spread is a hash of the execution and the retry, so that it is the same wherever it
        is computed. ``Retry-After`` can only lengthen the wait, up to ``RETRY_AFTER_BOUND``.
        """
        try:
            growth = self.factor ** (retry - 1)
        except OverflowError:
            growth = sys.float_info.max
        plain = min(self.initial * growth, float(self.max))
        if self.jitter:
            digest = hashlib.blake2b(f"{execution_id}/{retry}".encode(), digest_size=8).digest()
            unit = int.from_bytes(digest, "big") / 2**64
            plain *= 1 + self.jitter * (2 * unit - 1)
        wait = min(round(plain), self.max)
        if retry_after is not None:
            wait = max(wait, min(retry_after, RETRY_AFTER_BOUND))
        return wait
