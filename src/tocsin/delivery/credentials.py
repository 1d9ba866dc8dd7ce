"""The secrets of a call: filled in where it uses them, masked where they come back."""

import base64
import html
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import assert_never
from urllib.parse import quote, quote_plus

from tocsin.domain.job import BasicAuth, BearerAuth, HttpTarget, TargetAuth
from tocsin.domain.placeholder import SECRET, Template
from tocsin.domain.secrets import SIGNING_FIELD, secrets_of
from tocsin.services.vault import Vault

MASK = "[secret]"

_HEADER = "target.headers."
_BODY = "target.body"
_SHORTEST = 4
"""Characters of a value that was cut off, at least, to be masked."""


_SHORTEST_INSIDE = 8
"""Characters of a value within something that was encoded as a whole, to be masked: fewer are there
by chance."""

_IN_URLS = 512
"""Characters of a value that is looked for in every spelling that a URL can have it in: such a
pattern takes long to make, and what is longer is seldom in one."""

_FOR_PAGES = {ord(one): f"\\u{ord(one):04x}" for one in "<>&'"}
_NOT_SHOWN = dict.fromkeys(range(0x80, 0xA0), "\ufffd")
"""As ``excerpt.readable`` shows them."""
_FOR_URLS = str.maketrans("+/", "-_")


class MissingSecret(Exception):
    """A secret that a call uses does not exist, or cannot be decrypted."""


class Credentials:
    """What one target uses of secrets; ``of`` makes it, where there is anything."""

    def __init__(self, target: HttpTarget) -> None:
        uses = [(field, name) for field, name in secrets_of(target) if field != SIGNING_FIELD]
        self._names = tuple(dict.fromkeys(name for _, name in uses))
        self._auth = target.auth
        self.headers = frozenset(
            field.removeprefix(_HEADER).lower() for field, _ in uses if field.startswith(_HEADER)
        )
        """The headers that hold a secret, by names in lower case."""
        self._last: tuple[tuple[str, ...], Mask] | None = None
        self.in_body = any(field.startswith(_BODY) for field, _ in uses)

    @classmethod
    def of(cls, target: HttpTarget) -> "Credentials | None":
        """``None`` for a target without secrets, which is most of them."""
        made = cls(target)
        return made if made._names or made._auth is not None else None

    def values(self, vault: Vault, namespace: str) -> dict[str, str]:
        """What the placeholders of its secrets stand for; raises ``MissingSecret``."""
        found = {}
        for name in self._names:
            opened = vault.get(namespace, name)
            if opened is None:
                raise MissingSecret(
                    f"the secret {name} does not exist, or cannot be decrypted; "
                    f"set it with `tocsin secrets set {name}`"
                )
            found[SECRET + name] = opened.value
        return found

    def authorization(self, values: Mapping[str, str]) -> Sequence[tuple[str, str]]:
        """The ``Authorization`` header, where the target has credentials."""
        return [] if self._auth is None else [("Authorization", _authorization(self._auth, values))]

    def mask(self, values: Mapping[str, str], headers: Iterable[tuple[str, str]]) -> "Mask":
        """What hides the secrets of a call; ``headers`` are those of ``authorization``."""
        hidden = (
            *(value for name, value in values.items() if name.startswith(SECRET)),
            *(value.partition(" ")[2] for _, value in headers),
        )
        if self._last is None or self._last[0] != hidden:
            self._last = hidden, Mask(hidden)
        return self._last[1]


class Mask:
    """Hides values in text, as they are and in the spellings that answers echo them in."""

    def __init__(self, values: Collection[str]) -> None:
        forms = {form for value in values for form in _forms(value) if form}
        self._forms = sorted(forms, key=len, reverse=True)
        spelled = [_percent_encoded(value) for value in values if 0 < len(value) <= _IN_URLS]
        patterns = [*map(re.escape, self._forms), *spelled]
        self._pattern = re.compile("|".join(patterns), re.IGNORECASE)

    def __call__(self, text: str, *, truncated: bool = False) -> str:
        """The text without them; of a ``truncated`` one the end may be the start of a value."""
        if not self._forms:
            return text
        masked = self._pattern.sub(MASK, text)
        if truncated:
            for form in self._forms:
                for size in range(min(len(form) - 1, len(masked)), _SHORTEST - 1, -1):
                    if masked.endswith(form[:size]):
                        return masked[:-size] + MASK
        return masked


def _authorization(auth: TargetAuth, values: Mapping[str, str]) -> str:
    match auth:
        case BasicAuth():
            name = Template.parse(auth.username).render(values)
            password = Template.parse(auth.password).render(values)
            return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
        case BearerAuth():
            return "Bearer " + Template.parse(auth.token).render(values)
    assert_never(auth)


def _percent_encoded(value: str) -> str:
    """A pattern of all spellings in URLs: whoever writes one decides which characters to encode.

    Some encode what is encoded already.
    """
    return "".join(
        (rf"(?:{re.escape(chr(byte))}|" if byte < 0x80 else "(?:")
        + (r"\+|" if byte == 0x20 else "")
        + rf"%(?:25)*{byte:02x})"
        for byte in value.encode()
    )


def _within_base64(value: bytes) -> Iterator[str]:
    """What is sure to be seen of a value in the base64 of something that holds it.

    That depends on how many bytes stand before it: each three are four characters.
    """
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + value).decode()
        sure = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        if len(sure) >= _SHORTEST_INSIDE:
            yield sure
            yield sure.translate(_FOR_URLS)


def _forms(value: str) -> set[str]:
    encoded = base64.b64encode(value.encode()).decode()
    written = json.dumps(value)[1:-1]
    readable = json.dumps(value, ensure_ascii=False)[1:-1]
    # Headers leave as UTF-8, and most servers read them as Latin-1, or as ASCII.
    misread = value.encode().decode("latin-1")
    return {
        *_within_base64(value.encode()),
        value.encode().hex(),
        value,
        value.strip(),
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        written,
        readable,
        # PHP escapes slashes; Go and others what could end a script in a page.
        written.replace("/", r"\/"),
        readable.replace("/", r"\/"),
        # A body of JSON that comes back as a string of another one.
        json.dumps(written)[1:-1],
        json.dumps(readable, ensure_ascii=False)[1:-1],
        written.translate(_FOR_PAGES),
        readable.translate(_FOR_PAGES),
        html.escape(value),
        html.escape(value).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        repr(value)[1:-1],
        encoded,
        encoded.rstrip("="),
        encoded.translate(_FOR_URLS),
        encoded.translate(_FOR_URLS).rstrip("="),
        misread,
        misread.translate(_NOT_SHOWN),
        json.dumps(misread)[1:-1],
        value.encode("latin-1", "replace").decode("utf-8", "replace"),
        value.encode().decode("ascii", "replace"),
    }
