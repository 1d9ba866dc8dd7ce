"""Slowing down who guesses keys: so many failures per address, then one every few seconds."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from tocsin.api.addresses import neighbourhood

FREE = 10
"""Failures in a row that cost nothing but an answer."""

EVERY = 6.0
"""Seconds after which one more is free: ten in a minute."""

MAX_ADDRESSES = 10_000


class Others(Protocol):
    """What is counted of the failures on all nodes together; it may be away at any time."""

    async def wait(self, address: str) -> int:
        """Seconds until an address has room for another failure; 0: now, or nobody knows."""

    async def failed(self, address: str) -> None:
        """Count one."""


class Guesses:
    """Counts failures by address, in a bucket that leaks; of IPv6 by the 64 bits of a network.

    Each process counts by itself, and with ``others`` it is also held to what all have counted.
    """

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, others: Others | None = None
    ) -> None:
        self._monotonic = monotonic
        self._others = others
        self._full_until: OrderedDict[str, float] = OrderedDict()

    def suspects(self, address: str) -> bool:
        """Whether ``wait`` may say anything but 0; cheap."""
        return self._others is not None or _network(address) in self._full_until

    async def wait(self, address: str) -> int:
        """Seconds until this address may try another key, rounded up; 0: now."""
        network = _network(address)
        full = self._full_until.get(network)
        if full is not None:
            here = math.ceil(full - self._monotonic() - (FREE - 1) * EVERY)
            if here > 0:
                return here
        return 0 if self._others is None else await self._others.wait(network)

    async def failed(self, address: str) -> None:
        """A key of this address did not work."""
        network, now = _network(address), self._monotonic()
        self._full_until[network] = max(now, self._full_until.pop(network, now)) + EVERY
        # The oldest failures are forgotten first: to be forgotten takes that many addresses.
        while len(self._full_until) > MAX_ADDRESSES:
            self._full_until.popitem(last=False)
        if self._others is not None:
            await self._others.failed(network)


def _network(address: str) -> str:
    try:
        return neighbourhood(address)
    except ValueError:
        return address  # what a trusted proxy told instead of one
