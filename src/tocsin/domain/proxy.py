"""Through which proxy a call leaves: what the settings ``proxy`` and ``no_proxy`` say."""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import unquote_to_bytes

import idna

from tocsin.domain.networks import Address, literal_address

HOW_TO_WRITE_A_PROXY = "write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"

_PROXY = re.compile(r"(?:([a-z][a-z0-9+.-]*)://)?([^/?#]*)(/?)(.*)", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]*")
_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxy:
    """An HTTP proxy that is asked for tunnels; `read_proxy` makes it."""

    host: str
    """Lower case, ASCII, an IPv6 address without its brackets."""
    port: int
    literal: bool
    """The host is an IP address: there is no name to resolve."""
    authorization: str | None = field(default=None, repr=False)
    """The value of ``Proxy-Authorization``; a secret."""

    @property
    def place(self) -> str:
        """What messages call it; never with its credentials."""
        return f"the proxy {_authority(self.host, self.port)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Direct:
    """Targets that are called without the proxy."""

    name: str = ""
    """A host, and all below it; with a leading dot only those below it."""
    network: IPv4Network | IPv6Network | None = None
    port: int | None = None

    def holds(self, host: str, port: int, address: Address | None) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        if self.name.startswith("."):
            return address is None and host.endswith(self.name)
        return address is None and (host == self.name or host.endswith(f".{self.name}"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ProxyRules:
    """Which calls leave through the proxy; by default none."""

    proxy: Proxy | None = None
    all_direct: bool = False
    direct: tuple[_Direct, ...] = ()

    @classmethod
    def read(cls, proxy: str | None, no_proxy: str) -> "ProxyRules":
        """The rules as settings spell them; raises ``ValueError``, without any credentials."""
        words = [word.strip() for word in no_proxy.split(",")]
        return cls(
            proxy=read_proxy(proxy) if proxy else None,
            all_direct="*" in words,
            direct=tuple(_read_direct(word) for word in words if word and word != "*"),
        )

    def of(self, host: str, port: int) -> Proxy | None:
        """The proxy for a target; ``None`` where it is called directly.

        ``host`` is as a URL's parser leaves it.  Nothing is resolved: a network holds only targets
        that are given by their address.
        """
        if self.proxy is None or self.all_direct:
            return None
        address = literal_address(host)
        if isinstance(address, IPv6Address) and address in _MAPPED:
            address = address.ipv4_mapped
        name = host.rstrip(".")
        if any(one.holds(name, port, address) for one in self.direct):
            return None
        return self.proxy


def read_proxy(text: str) -> Proxy:
    """A proxy's URL; raises ``ValueError`` that repeats nothing of it."""
    match = _PROXY.fullmatch(text.strip())
    assert match is not None  # noqa: S101  # it matches everything
    scheme, authority, _, rest = match.groups()
    if scheme is None:
        raise ValueError(f"has no scheme; {HOW_TO_WRITE_A_PROXY}")
    if scheme.lower() != "http":
        raise ValueError(
            "is not an HTTP proxy that is spoken to in plain text, the only kind there is here "
            f"(https targets are encrypted inside of it); {HOW_TO_WRITE_A_PROXY}"
        )
    credentials, at, place = authority.rpartition("@")
    if rest or "@" in credentials:
        raise ValueError(
            "has a path, a query, or credentials with one of / ? # @, which are percent-encoded "
            f"there (%2F %3F %23 %40); {HOW_TO_WRITE_A_PROXY}"
        )
    host, port = _host_and_port(place)
    if port is None:
        raise ValueError(f"has no port from 1 to 65535; {HOW_TO_WRITE_A_PROXY}")
    address = _literal(host)
    return Proxy(
        host=_name(host) if address is None else str(address),
        port=port,
        literal=address is not None,
        authorization=_basic(credentials) if at else None,
    )


def tunnel_target(host: str, port: int) -> str:
    """What a proxy is asked to connect to: addresses in the spelling that was checked."""
    address = literal_address(host)
    return _authority(host if address is None else str(address), port)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read_direct(text: str) -> _Direct:
    wrong = (
        f"{text!r} is neither a host (example.com, with all below it; .example.com, only those "
        "below it), an address, a network (10.0.0.0/8), one of these with a port "
        "(example.com:8080), nor * for everything"
    )
    if "/" in text:
        try:
            return _Direct(network=ip_network(text))
        except ValueError:
            raise ValueError(
                f"{text!r} is not a network such as 10.0.0.0/8 or fd00::/8 (no bits may be set "
                "behind the prefix)"
            ) from None
    address = _literal(text)
    try:
        host, port = (text, None) if address is not None else _host_and_port(text)
        address = _literal(host)
        if address is not None:
            return _Direct(network=ip_network(address), port=port)
        dot = "." if host.startswith((".", "*.")) else ""
        return _Direct(name=dot + _name(host.removeprefix("*").removeprefix(".")), port=port)
    except ValueError:
        raise ValueError(wrong) from None


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Split ``host:port``; raises ``ValueError`` for a port that is none."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or ":" not in host or (rest and not rest.startswith(":")):
            raise ValueError(f"has an IPv6 address that is not in brackets; {HOW_TO_WRITE_A_PROXY}")
        port = rest[1:]
    else:
        host, colon, port = text.partition(":")
        if colon and not port:
            port = "-"
    if not port:
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65_535):
        raise ValueError(f"has no port from 1 to 65535; {HOW_TO_WRITE_A_PROXY}")
    return host, int(port)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _name(host: str) -> str:
    name = host.lower().rstrip(".")
    try:
        name = name if name.isascii() else idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        name = ""
    if len(name) > 253 or not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"has no valid host; {HOW_TO_WRITE_A_PROXY}")
    return name


def _basic(credentials: str) -> str:
    """The header for ``user:password``, each percent-encoded (RFC 7617; UTF-8)."""
    user, _, password = (unquote_to_bytes(part) for part in credentials.partition(":"))
    if b":" in user:
        raise ValueError("has a colon in its user name, which HTTP cannot transport")
    pair = user + b":" + password
    if not _PRINTABLE.fullmatch(pair.decode("latin-1")):
        raise ValueError("has a control character in its credentials")
    return f"Basic {b64encode(pair).decode('ascii')}"
