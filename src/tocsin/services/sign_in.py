"""Who a request comes from: keys and sessions, looked up seldom and remembered for moments."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from tocsin.domain.audit import Actor, Subject
from tocsin.domain.errors import StoreError
from tocsin.domain.instant import MINUTE, Millis
from tocsin.domain.key import ApiKey, Session, secret_hash
from tocsin.services.random_secrets import new_token
from tocsin.services.scope import Scope
from tocsin.store.port import Store

log = structlog.stdlib.get_logger("tocsin.services")

REMEMBERED = 2.0
"""Seconds that a key is not looked up again: what is revoked on another node works that long here,
and a busy client costs one look-up in so many seconds."""

USE_NOTED: Millis = MINUTE
"""How far ``last_used_at`` may be behind."""

MAX_REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A session with its token, which is in the cookie and nowhere else."""

    key: ApiKey
    session: Session
    token: str


class SignIn:
    """Finds out who asks; ``lifetime`` is how long a session lasts at most."""

    def __init__(
        self,
        *,
        store: Store,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
        lifetime: Millis,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id
        self._lifetime = lifetime
        self._monotonic = monotonic
        self._keys: dict[str, tuple[float, ApiKey]] = {}
        self._sessions: dict[str, tuple[float, Session, ApiKey]] = {}
        self._generation = 0
        self._noting: set[asyncio.Task[None]] = set()
        self._noted: dict[str, Millis] = {}

    def forget(self) -> None:
        """Look everything up again: a key was changed on this node."""
        # What is being looked up right now may be what it was before.
        self._generation += 1
        self._keys.clear()
        self._sessions.clear()

    def knows(self, secret: str) -> bool:
        """Whether this secret has opened something a moment ago, so that it is no guess."""
        return secret_hash(secret) in self._keys

    async def by_secret(self, secret: str) -> ApiKey | None:
        """The key that a secret opens now."""
        hashed = secret_hash(secret)
        known = self._keys.get(hashed)
        if known is None or known[0] < self._monotonic():
            generation = self._generation
            key = await self._store.find_key(hashed)
            if key is None:
                self._keys.pop(hashed, None)
                return None
            if len(self._keys) >= MAX_REMEMBERED:
                self._keys.clear()
            if generation == self._generation:
                self._keys[hashed] = (self._monotonic() + REMEMBERED, key)
        else:
            key = known[1]
        now = self._now()
        if not key.accepts(hashed, now):
            self._keys.pop(hashed, None)
            return None
        self._note_use(key, now)
        return key

    async def by_token(self, token: str) -> tuple[ApiKey, Session] | None:
        """The session of a token, with its key, where both work now."""
        hashed = secret_hash(token)
        known = self._sessions.get(hashed)
        if known is None or known[0] < self._monotonic():
            generation = self._generation
            session = await self._store.find_session(hashed)
            key = None if session is None else await self._store.get_key(session.key_id)
            if session is None or key is None:
                self._sessions.pop(hashed, None)
                return None
            if len(self._sessions) >= MAX_REMEMBERED:
                self._sessions.clear()
            if generation == self._generation:
                self._sessions[hashed] = (self._monotonic() + REMEMBERED, session, key)
        else:
            _, session, key = known
        now = self._now()
        if session.expires_at <= now or not key.accepts(session.key_hash, now):
            self._sessions.pop(hashed, None)
            return None
        self._note_use(key, now)
        return key, session

    async def open(self, secret: str, address: str) -> Opened | None:
        """Begin a session with a key's secret; ``None`` where that opens nothing."""
        key = await self.by_secret(secret)
        if key is None:
            return None
        now, token = self._now(), new_token()
        session = Session(
            hash=secret_hash(token),
            key_id=key.id,
            key_hash=secret_hash(secret),
            created_at=now,
            expires_at=now + self._lifetime,
            address=address,
        )
        entry = _scope_of(key, address).entry(
            "session.create",
            Subject(type="session", id=_short(session), name=key.name),
            at=now,
            entry_id=self._new_id(),
        )
        await self._store.add_session(session, audit=[entry])
        return Opened(key=key, session=session, token=token)

    async def close(self, key: ApiKey, session: Session, address: str) -> None:
        """End a session, on every node within ``REMEMBERED``."""
        entry = _scope_of(key, address).entry(
            "session.delete",
            Subject(type="session", id=_short(session), name=key.name),
            at=self._now(),
            entry_id=self._new_id(),
        )
        await self._store.delete_session(session.hash, audit=[entry])
        self._sessions.pop(session.hash, None)

    def _note_use(self, key: ApiKey, now: Millis) -> None:
        """Note when a key was used: seldom, and without making the request wait for it."""
        last = max(key.last_used_at or 0, self._noted.get(key.id, 0))
        if now - last < USE_NOTED:
            return
        if len(self._noted) >= MAX_REMEMBERED:
            self._noted.clear()
        self._noted[key.id] = now
        task = asyncio.get_running_loop().create_task(self._write_use(key.id, now))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _write_use(self, key_id: str, at: Millis) -> None:
        try:
            await self._store.note_key_use({key_id: at})
        except StoreError as error:
            log.debug("key.use_not_noted", error=str(error))

    async def settle(self) -> None:
        """Wait until the uses that are being noted are stored."""
        await asyncio.gather(*self._noting)


def csrf_token(token: str) -> str:
    """What a page of ours must send along, and a page of others cannot know."""
    return hmac.new(token.encode(), b"tocsin-csrf", hashlib.sha256).hexdigest()[:32]


def actor_of(key: ApiKey) -> Actor:
    """Who acts with a key."""
    return Actor(type="key", id=key.id, name=key.name)


def _scope_of(key: ApiKey, address: str) -> Scope:
    return Scope(
        namespace=key.grant.namespace, grant=key.grant, actor=actor_of(key), address=address
    )


def _short(session: Session) -> str:
    """Enough to tell a session from others."""
    return session.hash[:16]
