"""API keys and the sessions that are opened with them, as they are kept: never the secret itself.

A secret has 256 random bits, so a plain SHA-256 of it is as hard to turn back as it can be, and
lets a key be found by its hash through an index, in one look-up. Slow hashes (scrypt, argon2) make
up for secrets that people choose; here they would only let anybody who sends nonsense keep the
processor busy.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from tocsin.domain.access import UNLIMITED, Grant
from tocsin.domain.instant import Millis


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """How many requests in how many seconds."""

    amount: int
    seconds: int

    @classmethod
    def read(cls, text: str) -> "Rate | None":
        """The limit of a key, such as ``100/minute``; ``None`` for ``off``."""
        if text == "off":
            return None
        amount, _, window = text.partition("/")
        return cls(amount=int(amount), seconds={"second": 1, "minute": 60, "hour": 3_600}[window])

    def covers(self, other: "Rate") -> bool:
        """Whether the other never allows more, in however short or long a time."""
        return (
            other.amount <= self.amount
            and other.amount * self.seconds <= self.amount * other.seconds
        )


class KeyStatus(StrEnum):
    """Whether a key works."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyOrigin(StrEnum):
    """How a key came to be."""

    API = "api"
    """By another key."""
    FIRST = "first"
    """At the first start. There is one of these at most, ever."""
    RECOVERY = "recovery"
    """On the command line, with nothing but access to the database."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: str
    name: str
    prefix: str
    """How people tell it from others; not secret."""
    hash: str
    grant: Grant
    created_at: Millis
    created_by: str
    """The name of the key that made it, or of the way it came to be."""
    origin: KeyOrigin = KeyOrigin.API
    rate_limit: str | None = None
    """As ``100/minute`` or ``off``; ``None``: as the server is set."""
    expires_at: Millis | None = None
    last_used_at: Millis | None = None
    """Rounded down to about a minute."""
    revoked_at: Millis | None = None
    old_hash: str | None = None
    """Of the secret before the last rotation."""
    old_until: Millis | None = None
    """Until when that one works too."""

    def outlives(self, other: "ApiKey") -> bool:
        """Whether it works when the other has expired."""
        if other.expires_at is None:
            return False
        return self.expires_at is None or self.expires_at > other.expires_at

    def status(self, now: Millis) -> KeyStatus:
        """Whether it works at an instant."""
        if self.revoked_at is not None:
            return KeyStatus.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyStatus.EXPIRED
        return KeyStatus.ACTIVE

    @property
    def lasting(self) -> bool:
        """Whether it may do everything everywhere, and only ends by being revoked."""
        return self.grant == UNLIMITED and self.expires_at is None and self.revoked_at is None

    def accepts(self, hashed: str, now: Millis) -> bool:
        """Whether the secret with this hash opens it at an instant."""
        if self.status(now) is not KeyStatus.ACTIVE:
            return False
        if hashed == self.hash:
            return True
        return hashed == self.old_hash and self.old_until is not None and now < self.old_until


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A browser that was signed in with a key, and can do what that key can as long as it can."""

    hash: str
    """Of the token in the cookie."""
    key_id: str
    key_hash: str
    """Of the secret that opened it: the session ends when that secret stops working."""
    created_at: Millis
    expires_at: Millis
    address: str


def secret_hash(secret: str) -> str:
    """What is kept of a secret: SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
