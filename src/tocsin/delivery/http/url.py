"""A URL as the client needs it: where to connect, and what to put on the request line."""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

import idna

from tocsin.delivery.http.message import CallFailed

_SHAPE = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN = re.compile(r"[!$-;=?-Z\[\]_a-z~]*")  # what may stand on the request line as it is
_KEEP = "!$%&'()*+,-./:;=?@[]_~"


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL; `parse_url` makes it."""

    scheme: str
    host: str
    """Lower case, ASCII, an IPv6 literal without its brackets."""
    port: int
    literal: bool
    """The host is an IP address: there is no name to resolve."""
    origin: str
    """``scheme://host:port``, always with the port; the key of the connection pool."""
    authority: str
    """What the ``Host`` header says: the port only where it is not the scheme's own."""
    target: str
    """Path and query, percent-encoded ASCII."""
    request_tail: str
    """The rest of the request line, and the ``Host`` line that follows it."""

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"

    @property
    def place(self) -> str:
        """Host and port, as messages name them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=4096)
def parse_url(text: str) -> Url:
    """Parse an absolute ``http`` or ``https`` URL.

    A fragment is dropped.  Raises `CallFailed` (``protocol``) for anything else: control
    characters, credentials before the host, a host or port that cannot be.
    """
    if _CONTROL.search(text):
        raise _refused("it holds a control character")
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _refused("only absolute http:// and https:// URLs can be called")
    scheme, authority, path, query = shape.groups(default="")
    scheme = scheme.lower()
    host, port, literal = _place(authority)
    default = 443 if scheme == "https" else 80
    port = port or default
    shown = f"[{host}]" if ":" in host else host
    target = (path or "/") + query
    if not _PLAIN.fullmatch(target):
        try:
            target = quote(target, safe=_KEEP)
        except UnicodeEncodeError:
            raise _refused("it holds half of a surrogate pair") from None
    name = shown if port == default else f"{shown}:{port}"
    return Url(
        scheme=scheme,
        host=host,
        port=port,
        literal=literal,
        origin=f"{scheme}://{shown}:{port}",
        authority=name,
        target=target,
        request_tail=f" {target} HTTP/1.1\r\nHost: {name}\r\n",
    )


@lru_cache(maxsize=4096)
def _place(authority: str) -> tuple[str, int, bool]:
    """Split ``host:port``; port 0 where none is given."""
    if "@" in authority:
        raise _refused("it holds credentials; send them in an Authorization header instead")
    if authority.startswith("["):
        address, closed, rest = authority[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise _refused("its IPv6 address lacks the closing bracket")
        try:
            return str(ipaddress.IPv6Address(address)), _port(rest[1:]), True
        except ValueError:
            raise _refused("what stands in brackets is not an IPv6 address") from None
    host, _, port = authority.partition(":")
    host = host.lower()
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise _refused("its host is not a valid name") from None
    if len(host) > 254 or not _HOST.fullmatch(host) or ".." in host:
        raise _refused("its host is missing or not a valid name")
    try:
        # Only the canonical spelling is a literal. Others (0x7f.1, 2130706433) go through the
        # resolver, whose answer is what the guard checks and what is connected to.
        return str(ipaddress.IPv4Address(host)), _port(port), True
    except ipaddress.AddressValueError:
        return host, _port(port), False


def _port(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535):
        raise _refused("its port is not a number from 1 to 65535")
    return int(text)


def _refused(why: str) -> CallFailed:
    return CallFailed("protocol", f"the URL cannot be called: {why}")
