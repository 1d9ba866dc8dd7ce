"""Where calls may go: the rules of the egress guard.

Rules are asked in this order, and the first that matches decides:

1. the deny list: a host, a network, a port of one of them, or ``*`` for everything else than what
   is allowed by name;
2. the allow list;
3. addresses that are not on the public internet are forbidden;
4. so are ports that are not listed, where ports are.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from tocsin.domain.networks import (
    Address,
    Network,
    literal_address,
    needs_its_network,
    parse_address,
    why_special,
    wrapped_addresses,
)

_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_ONLY_ALLOWED = "only what is on the allow list may be called (TOCSIN_EGRESS_DENY has *)"
_LOOPBACK = (parse_address("127.0.0.1"), parse_address("::1"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An entry of a list: a network, a name, or every name below one; perhaps one port of it."""

    text: str
    """As it was written."""
    network: Network | None = None
    name: str | None = None
    """Lower case; with a leading dot all names below it."""
    port: int | None = None

    def holds(self, host: str, port: int, addresses: Iterable[Address]) -> bool:
        """Whether a call is to this place, by its name or by any of these addresses."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return any(address in self.network for address in addresses)
        name = self.name or ""
        return host.endswith(name) if name.startswith(".") else host == name


def read_places(text: str) -> tuple[Place, ...]:
    """Comma-separated networks and hosts; ``ValueError`` for what is neither."""
    return tuple(_read_place(one.strip()) for one in text.split(",") if one.strip())


def read_ports(text: str) -> tuple[range, ...]:
    """Comma-separated ports and ranges (``443``, ``8000-8999``); ``ValueError`` for others."""
    found = []
    for one in text.split(","):
        word = one.strip()
        if not word:
            continue
        match = _PORTS.fullmatch(word)
        low = int(match[1]) if match else 0
        high = int(match[2] or low) if match else 0
        if not 0 < low <= high <= 65_535:
            raise ValueError(f"{word!r} is not a port or a range of ports such as 443 or 8000-8999")
        found.append(range(low, high + 1))
    return tuple(found)


def _read_place(text: str) -> Place:
    word = text.lower()
    try:
        return Place(text=text, network=ip_network(word))
    except ValueError:
        pass
    if "/" in word:
        raise ValueError(
            f"{text!r} is not a network such as 10.0.0.0/8 or fd00::/8 (no bits may be set behind "
            "the prefix)"
        )
    host, port = word, None
    if word.startswith("["):
        host, _, rest = word[1:].partition("]")
        if rest:
            port = _one_port(rest.removeprefix(":"), text)
    elif word.count(":") == 1:
        host, _, rest = word.partition(":")
        port = _one_port(rest, text)
    try:
        return Place(text=text, network=ip_network(host), port=port)
    except ValueError:
        pass
    host = host.removesuffix(".")
    if literal_address(host) is not None or not _NAME.fullmatch(host) or ".." in host:
        raise ValueError(
            f"{text!r} is neither a network (10.0.0.0/8), an address (10.1.2.3, 10.1.2.3:8080, "
            "[fd00::1]:8080) nor a host (hooks.internal, *.internal, hooks.internal:8080)"
        )
    return Place(text=text, name=host.removeprefix("*"), port=port)


def _one_port(text: str, whole: str) -> int:
    ports = read_ports(text)
    if len(ports) != 1 or len(ports[0]) != 1:
        raise ValueError(f"{whole!r} has a port that is not a number from 1 to 65535")
    return ports[0].start


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressRules:
    """What calls may reach; by default everything on the public internet, at any port."""

    allow: tuple[Place, ...] = ()
    deny: tuple[Place, ...] = ()
    only_allowed: bool = False
    """Whether nothing may be reached but what ``allow`` names."""
    ports: tuple[range, ...] = ()
    """Empty: every port."""

    @classmethod
    def read(
        cls, *, allow: str = "", deny: str = "", ports: str = "", own: str = ""
    ) -> "EgressRules":
        """The rules as settings spell them; raises ``ValueError``.

        ``own`` is one more entry of the allow list.
        """
        denied = [one.strip() for one in deny.split(",")]
        return cls(
            allow=read_places(f"{allow},{own}"),
            deny=read_places(",".join(one for one in denied if one != "*")),
            only_allowed="*" in denied,
            ports=read_ports(ports),
        )

    def why_forbidden(self, host: str, port: int, address: str) -> str | None:
        """The rule that forbids a call to ``address`` in the name of ``host``; ``None``: none.

        ``host`` is lower case and ASCII, as a URL's parser leaves it. An empty ``address`` is that
        of a name which only a proxy resolves: then what the name says of itself must do. Raises
        ``ValueError`` for what is no address.
        """
        host = host.removesuffix(".")
        if address:
            return self._why(host, port, parse_address(address))
        return self.why_never(host, port) or self._why_unresolved(host, port)

    def why_never(self, host: str, port: int) -> str | None:
        """The rule that forbids every call to a host, whatever a name server says of it.

        That is so for addresses, in any spelling, and for ``localhost`` and the names below it,
        which are loopback by definition (RFC 6761, 6.3).
        """
        host = host.removesuffix(".")
        address = literal_address(host)
        if address is not None:
            return self._why(host, port, address)
        if host == "localhost" or host.endswith(".localhost"):
            whys = [self._why(host, port, one) for one in _LOOPBACK]
            return None if None in whys else whys[0]
        for place in self.deny:
            if place.network is None and place.holds(host, port, ()):
                return f"{place.text} is on the deny list (TOCSIN_EGRESS_DENY)"
        return None

    def _why_unresolved(self, host: str, port: int) -> str | None:
        """The same for a host that nothing forbids for ever, by its name."""
        if literal_address(host) is not None:
            return None  # Its address was looked at.
        for place in self.allow:
            if place.network is None and place.holds(host, port, ()):
                return None if place.port is not None else self._why_port(port)
        return _ONLY_ALLOWED if self.only_allowed else self._why_port(port)

    def _why(self, host: str, port: int, address: Address) -> str | None:
        inner = wrapped_addresses(address)
        for place in self.deny:
            if place.holds(host, port, (address, *inner)):
                return f"{place.text} is on the deny list (TOCSIN_EGRESS_DENY)"
        special = why_special(address)
        for place in self.allow:
            # Where an address can be read in two ways, nobody knows which one is taken.
            holds = place.holds(host, port, (address,)) or (
                bool(inner) and all(place.holds(host, port, (one,)) for one in inner)
            )
            if holds and (
                place.network is not None or not (special and needs_its_network(address))
            ):
                return None if place.port is not None else self._why_port(port)
        if self.only_allowed:
            return _ONLY_ALLOWED
        if special is not None:
            return f"{special}; TOCSIN_EGRESS_ALLOW can allow it"
        return self._why_port(port)

    def _why_port(self, port: int) -> str | None:
        if not self.ports or any(port in ports for ports in self.ports):
            return None
        return f"port {port} is not among the ports of TOCSIN_EGRESS_PORTS"
