"""The secrets of all namespaces, decrypted in memory, for whoever makes the calls."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from tocsin.domain.errors import FieldProblem, InvalidInput, StoreError
from tocsin.domain.instant import Millis
from tocsin.domain.job import Target
from tocsin.domain.secrets import SIGNING_FIELD, SIGNING_PREFIX, secrets_of
from tocsin.services.sealing import CannotOpen, Sealer
from tocsin.store.port import Store, StoredSecret

log = structlog.stdlib.get_logger("tocsin.secrets")

LOOK_EVERY = 2.0
"""Seconds between two looks whether another node has changed a secret."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Opened:
    """A secret that can be used; its ``repr`` shows nothing of it."""

    name: str
    version: int
    value: str
    previous: str | None
    """The value before, while it still counts."""
    previous_until: Millis


def sealed_under(namespace: str, name: str) -> str:
    """What a value is bound to."""
    return f"{namespace}\0{name}"


class Vault:
    """Knows the present value of each secret; ``run`` keeps up with other nodes.

    Without a ``sealer`` there is no master key, and no secret.
    """

    def __init__(self, *, store: Store, sealer: Sealer | None, now: Callable[[], Millis]) -> None:
        self._store = store
        self._sealer = sealer
        self._now = now
        self._mark: str | None = None
        self._opened: dict[tuple[str, str], Opened] = {}
        self._unreadable: frozenset[tuple[str, str]] = frozenset()
        self._failed = False
        self.changes = 0
        """Grows whenever what is known changes, so that others can prepare what they make of it."""

    @property
    def usable(self) -> bool:
        """Whether there is a master key."""
        return self._sealer is not None

    def get(self, namespace: str, name: str) -> Opened | None:
        """A secret; ``None`` where there is none, or it cannot be decrypted."""
        return self._opened.get((namespace, name))

    def has(self, namespace: str, name: str) -> bool:
        """Whether there is such a secret, readable or not."""
        return (namespace, name) in self._opened or (namespace, name) in self._unreadable

    def valid_values(self, namespace: str, name: str) -> tuple[str, ...]:
        """The values of a secret that count now: the present one, and perhaps that before."""
        opened = self.get(namespace, name)
        if opened is None:
            return ()
        if opened.previous is not None and self._now() < opened.previous_until:
            return (opened.value, opened.previous)
        return (opened.value,)

    async def require(self, namespace: str, target: Target) -> None:
        """Raise ``InvalidInput`` where a target uses a secret that does not exist."""
        uses = list(secrets_of(target))
        if not uses:
            return
        if not all(self.has(namespace, name) for _, name in uses):
            await self.refresh()  # It may have been made on another node a moment ago.
        problems = []
        for field, name in uses:
            if not self.has(namespace, name):
                message, code = self._unknown(name), "unknown_secret"
            elif field == SIGNING_FIELD and not self._can_sign(namespace, name):
                message = f"is {name}, whose value is not a signing key (whsec_…)"
                code = "not_a_signing_key"
            else:
                continue
            problems.append(FieldProblem(field=field, message=message, code=code))
        if problems:
            raise InvalidInput(problems)

    def _unknown(self, name: str) -> str:
        if self.usable:
            return (
                f"uses the secret {name}, which does not exist; "
                f"make it with `tocsin secrets set {name}`"
            )
        return (
            f"uses the secret {name}, but this server has no master key (TOCSIN_SECRET_KEY), and "
            "so no secrets"
        )

    def _can_sign(self, namespace: str, name: str) -> bool:
        opened = self.get(namespace, name)
        return opened is None or opened.value.startswith(SIGNING_PREFIX)

    async def refresh(self) -> None:
        """Read what has changed; raises a ``StoreError``."""
        if self._sealer is None:
            return
        mark = await self._store.secrets_mark()
        if mark == self._mark:
            return
        opened: dict[tuple[str, str], Opened] = {}
        unreadable = set()
        for stored in await self._store.list_secrets():
            key = (stored.namespace, stored.name)
            try:
                opened[key] = self._open(self._sealer, stored)
            except CannotOpen as error:
                unreadable.add(key)
                if key not in self._unreadable:
                    log.error(  # noqa: TRY400  # said, not a bug
                        "secret.unreadable",
                        namespace=stored.namespace,
                        name=stored.name,
                        error=str(error),
                        remedy="give the key that it was encrypted with in TOCSIN_SECRET_KEY, too",
                    )
        self._opened, self._unreadable = opened, frozenset(unreadable)
        self._mark = mark
        self.changes += 1

    async def run(self) -> None:
        """Keep up, whatever the store does."""
        while True:
            try:
                await self.refresh()
            except StoreError as error:
                if not self._failed:
                    log.warning("secrets.not_read", error=str(error))
                self._failed = True
            else:
                self._failed = False
            await asyncio.sleep(LOOK_EVERY)

    @staticmethod
    def _open(sealer: Sealer, stored: StoredSecret) -> Opened:
        name = sealed_under(stored.namespace, stored.name)
        previous: str | None = None
        if stored.previous_sealed is not None:
            with suppress(CannotOpen):  # It ends soon; the present value counts.
                previous = sealer.open(stored.previous_sealed, name)
        return Opened(
            name=stored.name,
            version=stored.version,
            value=sealer.open(stored.sealed, name),
            previous=previous,
            previous_until=stored.previous_until or 0,
        )
