"""Signed calls, checked by the receivers' official library."""

import hmac
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from tests.support.build import NOW
from tests.support.memory_store import MemoryStore

from tocsin.delivery.signing import CannotSign, Signer, Signers, begun_with, code
from tocsin.domain.instant import HOUR
from tocsin.services.sealing import Sealer
from tocsin.services.secrets import SecretService, new_signing_value, signing_key
from tocsin.services.vault import Vault

ID = "019b76da-a800-8abc-8def-0123456789ab"
BODY = b'{"any": "json", "n": 1}'


def now_s() -> int:
    return int(datetime.now(UTC).timestamp())


def headers(signature: str, at: int) -> dict[str, str]:
    return {"webhook-id": ID, "webhook-timestamp": str(at), "webhook-signature": signature}


def test_the_official_library_accepts_it() -> None:
    value, at = new_signing_value(), now_s()
    signature = Signer([value]).sign(ID, at, BODY)
    assert Webhook(value).verify(BODY, headers(signature, at)) == json.loads(BODY)


def test_it_is_what_the_official_library_would_sign() -> None:
    value, at = new_signing_value(), now_s()
    other = Webhook(value).sign(ID, datetime.fromtimestamp(at, UTC), BODY.decode())
    assert Signer([value]).sign(ID, at, BODY) == other


@given(key=st.binary(max_size=200), contents=st.lists(st.binary(max_size=300), max_size=3))
def test_a_code_is_that_of_the_standard_library(key: bytes, contents: list[bytes]) -> None:
    begun = begun_with(key)
    for content in contents:
        assert code(begun, content) == hmac.digest(key, content, "sha256")


@pytest.mark.parametrize("change", ["id", "timestamp", "body", "key", "signature", "old", "future"])
def test_what_was_altered_or_is_replayed_is_refused(change: str) -> None:
    value, at = new_signing_value(), now_s()
    signed_at = at - 3_600 if change == "old" else at + 3_600 if change == "future" else at
    signature = Signer([value]).sign(ID, signed_at, BODY)
    sent = headers(signature, signed_at)
    body = BODY
    match change:
        case "id":
            sent["webhook-id"] = ID.replace("0", "1")
        case "timestamp":
            sent["webhook-timestamp"] = str(at + 1)
        case "body":
            body = BODY.replace(b"1", b"2")
        case "key":
            value = new_signing_value()
        case "signature":
            sent["webhook-signature"] = signature[:-4] + "AAA="
    with pytest.raises(WebhookVerificationError):
        Webhook(value).verify(body, sent)


def test_during_a_change_either_key_verifies() -> None:
    new, old, at = new_signing_value(), new_signing_value(), now_s()
    signature = Signer([new, old]).sign(ID, at, BODY)
    assert signature.count("v1,") == 2
    for value in (new, old):
        Webhook(value).verify(BODY, headers(signature, at))
    with pytest.raises(WebhookVerificationError):
        Webhook(new_signing_value()).verify(BODY, headers(signature, at))


@pytest.mark.parametrize("value", ["x", "whsec_", "whsec_QUJD", "whsec_!!", "WHSEC_" + "A" * 44])
def test_what_is_no_key_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(ValueError, match="is not a signing key") as caught:
        signing_key(value)
    assert value not in str(caught.value) or value in {"x", "whsec_"}


# --- which key


class Lab:
    """A vault over a store in memory."""

    def __init__(self) -> None:
        self.now = NOW
        store, sealer = MemoryStore(), Sealer([b"k" * 32])
        self.vault = Vault(store=store, sealer=sealer, now=lambda: self.now)
        self.secrets = SecretService(
            store=store,
            vault=self.vault,
            sealer=sealer,
            now=lambda: self.now,
            new_id=lambda: str(uuid4()),
        )
        self.signers = Signers(self.vault)

    def signatures(self, name: str | None = None, namespace: str = "default") -> int:
        signer = self.signers.of(namespace, name, self.now)
        return 0 if signer is None else signer.sign(ID, 0, b"").count("v1,")


async def test_calls_are_signed_with_the_key_of_their_namespace() -> None:
    lab = Lab()
    assert lab.signatures() == 0
    await lab.secrets.ensure_signing("default")
    await lab.secrets.ensure_signing("default")
    assert lab.signatures() == 1
    assert lab.signatures(namespace="other") == 0
    first = lab.signers.of("default", None, lab.now)
    assert lab.signers.of("default", None, lab.now) is first


async def test_the_key_before_signs_until_its_overlap_ends() -> None:
    lab = Lab()
    await lab.secrets.ensure_signing("default")
    await lab.secrets.rotate_signing("default", {"overlap": "1h"})
    assert lab.signatures() == 2
    lab.now += HOUR
    assert lab.signatures() == 1
    await lab.secrets.rotate_signing("default", {"overlap": 0})
    assert lab.signatures() == 1


async def test_a_job_may_name_its_own_key() -> None:
    lab = Lab()
    value, later = new_signing_value(), new_signing_value()
    await lab.secrets.set("default", "HOOK", {"value": value})
    signer = lab.signers.of("default", "HOOK", lab.now)
    assert signer is not None
    assert signer.sign(ID, 7, BODY) == Signer([value]).sign(ID, 7, BODY)
    await lab.secrets.set("default", "HOOK", {"value": later, "overlap": "1h"})
    signer = lab.signers.of("default", "HOOK", lab.now)
    assert signer is not None
    assert signer.sign(ID, 7, BODY) == Signer([later, value]).sign(ID, 7, BODY)
    await lab.secrets.set("default", "HOOK", {"value": "not a key", "overlap": "1h"})
    with pytest.raises(CannotSign, match="HOOK"):
        lab.signatures("HOOK")
    await lab.secrets.delete("default", "HOOK", force=True)
    with pytest.raises(CannotSign):
        lab.signatures("HOOK")
