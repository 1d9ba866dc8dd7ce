"""Secrets in calls: filled in, masked, and taken nowhere else."""

import base64
import html
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import uuid4

import pytest
from hostile_server import answered, calling, failed, holding, request, serving
from tests.support.build import NOW
from tests.support.memory_store import MemoryStore

from tocsin.delivery.credentials import Credentials, Mask, MissingSecret
from tocsin.delivery.http.excerpt import readable
from tocsin.delivery.http.section import section_of
from tocsin.domain.job import BasicAuth, BearerAuth, BodyKind, HttpTarget
from tocsin.services.sealing import CannotOpen, Sealer, new_key, read_key, read_keys
from tocsin.services.secrets import SecretService
from tocsin.services.vault import Vault

VALUE = 'p&ss "w\u00f6rd"/1'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def to(location: str) -> bytes:
    return f"HTTP/1.1 307 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


async def vault_with(**values: str) -> Vault:
    store, sealer = MemoryStore(), Sealer([b"k" * 32])
    vault = Vault(store=store, sealer=sealer, now=lambda: NOW)
    service = SecretService(
        store=store, vault=vault, sealer=sealer, now=lambda: NOW, new_id=lambda: str(uuid4())
    )
    for name, value in values.items():
        await service.set("default", name, {"value": value})
    return vault


def target(**fields: Any) -> HttpTarget:
    return HttpTarget(**{"url": "https://example.com/", **fields})


def test_most_targets_have_nothing_to_hide() -> None:
    assert Credentials.of(target(headers=(("X", "{{ attempt }}"),))) is None
    assert Credentials.of(target(signing="KEY")) is None


async def test_values_come_from_the_vault() -> None:
    vault = await vault_with(A="value a", B="value b")
    made = Credentials.of(
        target(
            url="https://example.com/?{{ secret.A }}",
            headers=(("X-Key", "{{ secret.B }}"), ("X-Plain", "x")),
            body_kind=BodyKind.JSON,
            body={"k": "{{ secret.A }}"},
        )
    )
    assert made is not None
    assert made.values(vault, "default") == {"secret.A": "value a", "secret.B": "value b"}
    assert made.headers == {"x-key"}
    assert made.in_body
    with pytest.raises(MissingSecret, match="secret A does not exist"):
        made.values(vault, "other")


async def test_basic_and_bearer() -> None:
    values = {"secret.P": VALUE, "attempt": "2"}
    basic = Credentials.of(target(auth=BasicAuth(username="me", password="{{ secret.P }}")))
    bearer = Credentials.of(target(auth=BearerAuth(token="a{{ secret.P }}{{ attempt }}")))
    assert basic is not None
    assert bearer is not None
    encoded = base64.b64encode(f"me:{VALUE}".encode()).decode()
    assert basic.authorization(values) == [("Authorization", f"Basic {encoded}")]
    assert bearer.authorization(values) == [("Authorization", f"Bearer a{VALUE}2")]
    assert basic.mask(values, basic.authorization(values))(f"you sent {encoded}") == (
        "you sent [secret]"
    )


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        quote(VALUE, safe=""),
        quote(VALUE, safe="").lower(),
        json.dumps({"k": VALUE}),
        json.dumps(VALUE, ensure_ascii=False),
        html.escape(VALUE),
        base64.b64encode(VALUE.encode()).decode(),
        VALUE.upper(),
        quote_plus(VALUE),
        json.dumps(VALUE).replace("/", r"\/"),
        json.dumps(VALUE).replace("&", r"\u0026"),
        html.escape(VALUE).replace("&quot;", "&#34;"),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
        quote(VALUE, safe="/ "),
        quote(quote(VALUE, safe=""), safe=""),
        "".join(f"%{byte:02X}" for byte in VALUE.encode()),
        "p%26s%73+%22w%C3%B6rd%22%2f1",
        VALUE.encode().decode("latin-1"),
        json.dumps(VALUE.encode().decode("latin-1")),
        VALUE.encode("latin-1").decode("utf-8", "replace"),
        VALUE.encode().decode("ascii", "replace"),
        VALUE.encode().hex(),
        json.dumps(json.dumps({"k": VALUE})),
        json.dumps(json.dumps(VALUE, ensure_ascii=False), ensure_ascii=False),
    ],
)
def test_a_value_is_masked_however_it_is_spelled(form: str) -> None:
    masked = Mask([VALUE])(f"before {form} after {form}")
    assert VALUE not in masked
    assert "w\u00f6rd" not in masked.lower()
    assert quote("w\u00f6rd") not in masked
    assert masked.count("[secret]") == 2
    assert masked.startswith("before ")
    assert not {"p", "ss", "w", "rd"} & set(re.findall("[a-z]+", masked.lower()))


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", 'the body: {"token": "'])
@pytest.mark.parametrize("after", ["", "z", "yz", '"}'])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_is_masked_within_something_that_was_encoded_as_a_whole(
    before: str, after: str, encode: Callable[[bytes], bytes]
) -> None:
    """As gateways hand on bodies that they take for binary."""
    encoded = encode(f"{before}{VALUE}{after}".encode()).decode()
    masked = Mask([VALUE])(encoded)
    assert masked.count("[secret]") == 1
    left = "".join(masked.split("[secret]"))
    # What is left of it besides its neighbours: bits of the first and of the last character.
    assert len(left) <= len(base64.b64encode(f"{before}{after}".encode())) + 4
    assert Mask(["abc"])(base64.b64encode(b"xabcy").decode()) == "eGFiY3k="


def test_a_long_value_is_masked_in_its_usual_spellings() -> None:
    value = "aB3/" * 4_000
    assert Mask([value])(f"{value} {quote(value, safe='')}") == "[secret] [secret]"


def test_a_value_that_was_read_as_latin_1_is_masked_in_an_excerpt() -> None:
    echoed = "straße-geheim".encode().decode("latin-1").encode()
    shown = readable(echoed, section_of([]), size=len(echoed), truncated=False)
    assert Mask(["straße-geheim"])(shown) == "[secret]"


def test_a_value_that_was_cut_off_is_masked() -> None:
    mask = Mask(["correct horse battery"])
    assert mask("it is correct hor", truncated=True) == "it is [secret]"
    assert mask("it is correct hor", truncated=False) == "it is correct hor"
    assert mask("it is cor", truncated=True) == "it is cor"


def test_the_longer_value_is_masked_as_a_whole() -> None:
    assert Mask(["abcd", "abcdefgh"])("abcdefgh abcd") == "[secret] [secret]"


# --- on the wire


async def test_secrets_do_not_follow_a_redirect_to_another_origin() -> None:
    async with serving(holding(OK)) as other, calling() as client:
        async with serving(holding(to(other.url("/there")))) as server:
            sent = request(
                server.url(),
                headers=[("Authorization", "Bearer x"), ("X-Key", "x"), ("X-Plain", "y")],
                confidential=frozenset({"x-key"}),
                redirects=1,
            )
            answered(await client.call(sent))
        [seen] = other.seen
        names = {name.lower() for name, _ in seen.headers}
        assert "x-plain" in names
        assert not names & {"x-key", "authorization"}


async def test_a_body_with_a_secret_is_not_taken_to_another_origin() -> None:
    async with serving(holding(OK)) as other, calling() as client:
        async with serving(holding(to(other.url("/there")))) as server:
            sent = request(server.url(), confidential_body=True, redirects=1)
            failed(await client.call(sent), "redirect", "holds a secret", written=True)
        assert other.seen == []


async def test_within_an_origin_they_do() -> None:
    async with serving(holding(to("/there"), OK)) as server, calling() as client:
        sent = request(
            server.url(),
            headers=[("X-Key", "x")],
            confidential=frozenset({"x-key"}),
            confidential_body=True,
            redirects=1,
        )
        answered(await client.call(sent))
        assert ("x-key", "x") in [(name.lower(), value) for name, value in server.seen[1].headers]


@pytest.mark.parametrize("value", ["x\r\nX-Evil: 1", "x\ny", "x\0y"])
async def test_a_value_that_would_smuggle_a_header_is_refused_and_not_repeated(value: str) -> None:
    async with serving(holding(OK)) as server, calling() as client:
        outcome = await client.call(request(server.url(), headers=[("X-Key", value)]))
        failed(outcome, "protocol", "X-Key", written=False)
        assert value not in str(outcome.error)
        assert server.seen == []


# --- sealing


def test_what_is_sealed_is_opened_under_its_name_only() -> None:
    sealer = Sealer([b"a" * 32])
    sealed = sealer.seal("text \u00e9", "name")
    assert sealer.open(sealed, "name") == "text \u00e9"
    assert sealer.seal("text \u00e9", "name") != sealed
    assert "text" not in sealed
    for broken in (sealed[:-6] + "AAAAA=", sealed.replace("v1", "v2"), "", "v1", "v1.x.y"):
        with pytest.raises(CannotOpen):
            sealer.open(broken, "name")
    with pytest.raises(CannotOpen):
        sealer.open(sealed, "other")
    with pytest.raises(CannotOpen, match="fingerprint"):
        Sealer([b"b" * 32]).open(sealed, "name")


def test_the_first_key_seals_and_every_key_opens() -> None:
    old, new = Sealer([b"a" * 32]), Sealer([b"b" * 32, b"a" * 32])
    sealed = old.seal("text", "name")
    assert new.open(sealed, "name") == "text"
    assert not new.is_current(sealed)
    assert new.is_current(new.seal("text", "name"))


def test_keys_are_read_as_people_write_them() -> None:
    key = new_key()
    raw = base64.b64decode(key)
    assert read_key(f" {key}\n") == read_key(raw.hex()) == raw
    assert read_key(base64.urlsafe_b64encode(raw).decode()) == raw
    assert read_keys(f"# old\n{key},{raw.hex()}\n\n{key}") == (raw, raw, raw)
    for bad in ("short", key[:-4], "x" * 64, "zz" * 32, key + key):
        with pytest.raises(ValueError, match="32 bytes") as caught:
            read_key(bad)
        assert bad not in str(caught.value)
