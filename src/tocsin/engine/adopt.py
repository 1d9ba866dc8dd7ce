"""Taking on what this node owns but does not hold: claims whose commit looked failed."""

import asyncio
from collections.abc import Callable, Sequence

from tocsin.domain.errors import Revoked
from tocsin.domain.instant import Millis
from tocsin.engine.claiming import Claiming
from tocsin.engine.loop import Troubles
from tocsin.store.port import Claim, Store


class Adoption:
    """Compares what this node owns with what it holds, now and then and where there is doubt.

    Beside the claims, which must not wait for it. What a claim takes is owned before it is held,
    so after each look at the store the claims that were under way are let come in: what they
    brought is no stray, even if it is over by then.
    """

    def __init__(
        self,
        *,
        store: Store,
        claiming: Claiming,
        interval: Millis,
        poll: Millis,
    ) -> None:
        self._store = store
        self._claiming = claiming
        self._dispatcher = claiming.dispatcher
        self._lease = claiming.lease
        self._interval = interval / 1_000
        self._poll = poll / 1_000
        self._wake = asyncio.Event()
        self._troubles = Troubles("adopt", claiming.meter)
        self.on_revoked: Callable[[str], None] = lambda _incarnation: None

    def soon(self) -> None:
        """Look at once: this node may own a claim that it does not hold."""
        self._wake.set()

    async def step(self) -> int:
        """Hold whatever this node owns but does not hold; returns how many were adopted.

        By the way what it holds follows the definitions as they are now.
        """
        incarnation = self._lease.incarnation
        doubtful = self._dispatcher.doubtful
        with self._dispatcher.taking(all_owned=True) as taking:
            versions = await self._store.owned_versions(incarnation)
            await self._claiming.settled()
            unfamiliar = self._dispatcher.unfamiliar(taking, versions)
            claims: Sequence[Claim] = ()
            if unfamiliar:
                claims = await self._store.owned(incarnation, ids=unfamiliar)
                await self._claiming.settled()
            if incarnation != self._lease.incarnation:
                return 0
            strays = self._dispatcher.reconcile(taking, versions, claims)
            self._dispatcher.hold(strays)
        self._dispatcher.doubt_no_more(doubtful)
        return len(strays)

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            self._wake.clear()
            pause = self._poll
            try:
                if self._lease.held:
                    await self.step()
                    pause = self._interval
            except Revoked as error:
                self.on_revoked(error.incarnation)
            except Exception as error:  # noqa: BLE001  # a loop outlives every error
                await asyncio.sleep(self._troubles.failed(error))
                continue
            else:
                self._troubles.passed()
            waker = asyncio.get_running_loop().call_later(pause, self._wake.set)
            await self._wake.wait()
            waker.cancel()
