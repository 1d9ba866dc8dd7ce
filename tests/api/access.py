"""The API behind its gate, and callers of every kind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.api.harness import KEYS, Api, Clock, make_api
from tests.support.build import HOUR
from tocsin.api.auth import KeyGate
from tocsin.api.guesses import Guesses
from tocsin.services.ids import Uuid7
from tocsin.services.sign_in import SignIn
from tocsin.store.port import Store

ADMIN = "tcs_adminkey_" + "a" * 43


@dataclass
class Watch:
    """Seconds, moved by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Guarded:
    """The API as everybody meets it, and as the admin does."""

    api: Api
    """With the admin's key."""
    sign_in: SignIn
    watch: Watch
    guesses: Guesses

    async def begin(self) -> None:
        """Make the admin's key, where there is none."""
        await self.api.context.keys.make_first(ADMIN)

    @property
    def anonymous(self) -> httpx.AsyncClient:
        """A client without a key."""
        return self.client()

    def client(self, key: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client of its own, with or without a key."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["Authorization"] = f"Bearer {key}"
        transport: Any = self.api.client._transport
        return httpx.AsyncClient(transport=transport, base_url="http://tocsin.test", headers=given)

    async def make(self, **fields: Any) -> dict[str, Any]:
        """A new key, as the admin makes it."""
        body = {"name": "some", "role": "viewer", **fields}
        made = await self.api.ask("POST", KEYS, status=201, json=body)
        key: dict[str, Any] = made.json()
        return key

    async def of(self, **fields: Any) -> httpx.AsyncClient:
        """A client with a new key."""
        return self.client((await self.make(**fields))["key"])


def make_guarded(store: Store, **options: Any) -> Guarded:
    """The API behind its gate, over an open store; ``begin`` makes the admin's key."""
    clock, watch = Clock(), Watch()
    guesses = Guesses(monotonic=watch)
    sign_in = SignIn(store=store, now=clock, new_id=Uuid7(clock), lifetime=HOUR, monotonic=watch)
    api = make_api(
        store,
        clock=clock,
        gate=KeyGate(sign_in, guesses),
        sign_in=sign_in,
        headers={"Authorization": f"Bearer {ADMIN}"},
        **options,
    )
    return Guarded(api, sign_in, watch, guesses)


@asynccontextmanager
async def guarded(store: Store, **options: Any) -> AsyncIterator[Guarded]:
    """The same, begun."""
    made = make_guarded(store, **options)
    await made.begin()
    async with made.api.client:
        yield made
        await made.sign_in.settle()
