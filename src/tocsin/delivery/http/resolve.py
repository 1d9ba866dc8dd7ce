"""From a host's name to its addresses."""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Protocol

_MAX_CACHED = 4096
_MAX_THREADS = 64
_MAX_ADDRESSES = 8


class Resolver(Protocol):
    """Finds the addresses of a name."""

    async def resolve(self, host: str) -> Sequence[str]:
        """Return at least one IP address, the one to try first at the front.

        An IPv6 address may carry its scope (``fe80::1%eth0``).  Raises `OSError` (as
        `socket.gaierror`) where there is none; cancelling ends the wait, not the lookup.
        """
        ...


class SystemResolver:
    """Asks the operating system, remembers good answers for a few seconds.

    Concurrent lookups of one name share one question.  Each question runs in a daemon thread of
    its own: neither uvloop's four threads nor asyncio's default executor can then be filled up by
    a name server that does not answer, and none of them holds up the exit of the process.
    """

    def __init__(
        self, *, ttl: float = 5.0, lookup: Callable[[str], Sequence[str]] | None = None
    ) -> None:
        """``ttl`` is in seconds, 0 remembers nothing; ``lookup`` replaces getaddrinfo."""
        self._ttl = ttl
        self._lookup = lookup or _getaddrinfo
        self._known: dict[str, tuple[float, Sequence[str]]] = {}
        self._asked: dict[str, asyncio.Future[Sequence[str]]] = {}
        self._threads = asyncio.Semaphore(_MAX_THREADS)

    async def resolve(self, host: str) -> Sequence[str]:
        """See `Resolver.resolve`."""
        known = self._known.get(host)
        if known is not None and known[0] > monotonic():
            return known[1]
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = asyncio.ensure_future(self._ask(host))
            asked.add_done_callback(lambda done: self._answered(host, done))
        # One that gives up waiting must not take the answer from the others.
        return await asyncio.shield(asked)

    async def _ask(self, host: str) -> Sequence[str]:
        async with self._threads:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[Sequence[str]] = loop.create_future()

            def settle(addresses: Sequence[str], error: Exception | None) -> None:
                if answer.done():
                    return
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(addresses)

            def work() -> None:
                addresses: Sequence[str] = ()
                problem: Exception | None = None
                try:
                    addresses = self._lookup(host)
                except Exception as error:  # noqa: BLE001 - it is raised again, in the loop
                    problem = error
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(settle, addresses, problem)

            try:
                threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
            except RuntimeError as error:
                raise OSError("the system gives no thread to ask with") from error
            return await answer

    def _answered(self, host: str, done: asyncio.Future[Sequence[str]]) -> None:
        self._asked.pop(host, None)
        if done.cancelled() or done.exception() is not None:
            return
        now = monotonic()
        if len(self._known) >= _MAX_CACHED:
            self._known = {h: known for h, known in self._known.items() if known[0] > now}
            while len(self._known) >= _MAX_CACHED:
                del self._known[next(iter(self._known))]
        self._known[host] = (now + self._ttl, done.result())

    async def close(self) -> None:
        """Forget every question; threads that still wait for an answer end on their own."""
        asked = list(self._asked.values())
        for question in asked:
            question.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


def _getaddrinfo(host: str) -> Sequence[str]:
    # As bytes: a str would be put through the IDNA codec, which has errors of its own.
    found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    addresses = []
    for family, _, _, _, place in found:
        address = str(place[0])
        # getaddrinfo gives the scope of a link-local address beside it, not always in it.
        if family == socket.AF_INET6 and len(place) == 4 and place[3] and "%" not in address:
            address = f"{address}%{place[3]}"
        addresses.append(address)
    return list(dict.fromkeys(addresses))[:_MAX_ADDRESSES]
