"""Slowing down who guesses keys: so many failures per address, then one every few seconds."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

FREE = 10
"""Failures in a row that cost nothing but an answer."""

EVERY = 6.0
"""Seconds after which one more is free: ten in a minute."""

MAX_ADDRESSES = 10_000


class Guesses:
    """Counts failures by address, in a bucket that leaks; of IPv6 by the 64 bits of a network."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._full_until: OrderedDict[str, float] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until this address may try another key, rounded up; 0: now."""
        full = self._full_until.get(_network(address))
        if full is None:
            return 0
        return max(0, math.ceil(full - self._monotonic() - (FREE - 1) * EVERY))

    def failed(self, address: str) -> None:
        """A key of this address did not work."""
        network, now = _network(address), self._monotonic()
        self._full_until[network] = max(now, self._full_until.pop(network, now)) + EVERY
        # The oldest failures are forgotten first: to be forgotten takes that many addresses.
        while len(self._full_until) > MAX_ADDRESSES:
            self._full_until.popitem(last=False)


def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False).network_address)
