"""Idempotency keys: the same request, sent again, is answered the same and done once."""

import hashlib
import re
from dataclasses import dataclass

import orjson

from tocsin.domain.errors import Conflict, InvalidInput
from tocsin.domain.instant import Millis
from tocsin.domain.job import Json
from tocsin.store.port import Request

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyed:
    """One use of an idempotency key: for an operation, with a body."""

    namespace: str
    operation: str
    key: str
    fingerprint: str

    @classmethod
    def of(cls, namespace: str, operation: str, key: str | None, data: object) -> "Keyed | None":
        """The use of a key, or ``None`` without one.

        Raises ``InvalidInput`` for a key that is not 1 to 255 visible ASCII characters, and for
        a body that is nested absurdly deep.
        """
        if key is None:
            return None
        if not _KEY.fullmatch(key):
            raise InvalidInput.of(
                "Idempotency-Key", "is not 1 to 255 visible ASCII characters", "pattern"
            )
        try:
            written = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            raise InvalidInput.of("", "is nested too deep", "too_deep") from None
        digest = hashlib.blake2b(written, digest_size=16).hexdigest()
        return cls(namespace=namespace, operation=operation, key=key, fingerprint=digest)

    def request(self, result: Json, now: Millis) -> Request:
        """What the store keeps, so that the answer can be given again."""
        return Request(
            namespace=self.namespace,
            operation=self.operation,
            key=self.key,
            fingerprint=self.fingerprint,
            result=result,
            created_at=now,
        )

    def ids(self, stored: Request) -> list[str]:
        """The ids that the first request with this key was answered.

        Raises ``Conflict`` (``idempotency_key_reused``) where its body was another.
        """
        if stored.fingerprint != self.fingerprint:
            raise Conflict(
                f"the Idempotency-Key {self.key!r} was used with another body within the last "
                "24 hours; take a new key for a new request",
                code="idempotency_key_reused",
            )
        return [str(one) for one in stored.result] if isinstance(stored.result, list) else []
