"""Addresses that are not on the public internet, in every spelling and wrapping.

The tables follow IANA's special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its
updates), and name the metadata services of clouds, which hand out credentials to whoever can reach
them. Python's own ``is_private`` and ``is_global`` differ between its versions, so they are not
asked.
"""

import socket
from functools import lru_cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_METADATA = {
    "169.254.169.254": "the metadata service of clouds",
    "169.254.170.2": "the credentials service of Amazon ECS",
    "100.100.100.200": "the metadata service of Alibaba Cloud",
    "168.63.129.16": "the host agent of Azure",
    "192.0.0.192": "the metadata service of Oracle Cloud",
    "fd00:ec2::254": "the metadata service of Amazon EC2",
    "fd00:ec2::23": "the credentials service of Amazon EKS",
    "fd20:ce::254": "the metadata service of Google Cloud",
}

_SPECIAL_4 = [
    (IPv4Network(network), words)
    for network, words in (
        ("0.0.0.0/8", "unspecified (RFC 1122)"),
        ("10.0.0.0/8", "private (RFC 1918)"),
        ("100.64.0.0/10", "shared by a carrier's customers (RFC 6598)"),
        ("127.0.0.0/8", "loopback (RFC 1122)"),
        ("169.254.0.0/16", "link-local (RFC 3927)"),
        ("172.16.0.0/12", "private (RFC 1918)"),
        ("192.0.0.0/24", "reserved for protocols (RFC 6890)"),
        ("192.0.2.0/24", "for documentation (RFC 5737)"),
        ("192.88.99.0/24", "a relay of 6to4 (RFC 7526)"),
        ("192.168.0.0/16", "private (RFC 1918)"),
        ("198.18.0.0/15", "for benchmarks (RFC 2544)"),
        ("198.51.100.0/24", "for documentation (RFC 5737)"),
        ("203.0.113.0/24", "for documentation (RFC 5737)"),
        ("224.0.0.0/4", "multicast (RFC 5771)"),
        ("255.255.255.255/32", "broadcast (RFC 919)"),
        ("240.0.0.0/4", "reserved (RFC 1112)"),
    )
]
_SPECIAL_6 = [
    (IPv6Network(network), words)
    for network, words in (
        ("::/128", "unspecified (RFC 4291)"),
        ("::1/128", "loopback (RFC 4291)"),
        ("64:ff9b:1::/48", "translated to IPv4 locally (RFC 8215)"),
        ("100::/64", "for discarding (RFC 6666)"),
        ("2001::/32", "a Teredo tunnel (RFC 4380)"),
        ("2001:2::/48", "for benchmarks (RFC 5180)"),
        ("2001::/23", "reserved for protocols (RFC 2928)"),
        ("2001:db8::/32", "for documentation (RFC 3849)"),
        ("2002::/16", "a 6to4 tunnel (RFC 3056)"),
        ("3fff::/20", "for documentation (RFC 9637)"),
        ("5f00::/16", "for segment routing (RFC 9602)"),
        ("fc00::/7", "private (RFC 4193)"),
        ("fe80::/10", "link-local (RFC 4291)"),
        ("fec0::/10", "site-local (RFC 3879)"),
        ("ff00::/8", "multicast (RFC 4291)"),
    )
]
_UNICAST = IPv6Network("2000::/3")

_WRAPPED_AT_THE_END = [
    IPv6Network("::/96"),  # IPv4-compatible (RFC 4291, 2.5.5.1)
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped (RFC 4291, 2.5.5.2)
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated (RFC 2765)
    IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052)
]
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})


def parse_address(text: str) -> Address:
    """An address in its canonical spelling, without its scope; ``ValueError`` for what is none."""
    return ip_address(text.partition("%")[0])


@lru_cache(maxsize=4_096)
def literal_address(host: str) -> Address | None:
    """The address that a host of a URL spells, however it does; ``None`` for a name.

    Besides the canonical spellings those that C libraries take for IPv4 (``127.1``, ``0x7f.1``,
    ``017700000001``, ``2130706433``): resolvers, and proxies, make addresses of them without
    asking anybody. A scope is left out, which means nothing beyond this machine (RFC 6874), and so
    is every dot at the end: what one more parser could take for an address counts as one.
    """
    host = host.rstrip(".")
    try:
        return parse_address(host.strip("[]"))
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host)) if host and not host.isspace() else None
    except (OSError, UnicodeError, AddressValueError):
        return None


def wrapped_addresses(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to or by, where it holds any."""
    if isinstance(address, IPv4Address):
        return ()
    bits = int(address)
    last = bits & 0xFFFF_FFFF
    if any(address in network for network in _WRAPPED_AT_THE_END):
        # :: and ::1 are addresses of their own.
        return (IPv4Address(last),) if bits > 1 else ()
    if address in _LOCAL_NAT64:
        # RFC 6052, 2.2: where the prefix is 48 bits long, bits 64 to 71 lie between its halves.
        halves = (bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF
        return tuple(IPv4Address(found) for found in (last, halves) if found)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(bits >> 80 & 0xFFFF_FFFF),)
    if address in _TEREDO:
        return (IPv4Address(last ^ 0xFFFF_FFFF), IPv4Address(bits >> 64 & 0xFFFF_FFFF))
    if bits >> 32 & 0xFFFF_FFFF in _ISATAP:
        return (IPv4Address(last),)
    return ()


def why_special(address: Address) -> str | None:
    """Why an address is not on the public internet, in words; ``None`` where it is."""
    service = _METADATA.get(str(address))
    if service is not None:
        return f"{address} is {service}"
    if isinstance(address, IPv4Address):
        return _of_table(address, _SPECIAL_4)
    for inner in wrapped_addresses(address):
        why = why_special(inner)
        if why is not None:
            return f"{address} leads to {inner}; {why}"
    why = _of_table(address, _SPECIAL_6)
    if why is None and address not in _UNICAST and not wrapped_addresses(address):
        return f"{address} is outside of 2000::/3, all that is routed publicly (RFC 4291)"
    return why


def needs_its_network(address: Address) -> bool:
    """Whether an address is so special that to allow a host's name does not allow it.

    Credentials are behind link-local and metadata addresses, and nobody's endpoint.
    """
    inner = wrapped_addresses(address)
    return any(map(needs_its_network, inner)) or (
        str(address) in _METADATA
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )


def _of_table(
    address: Address, table: list[tuple[IPv4Network, str]] | list[tuple[IPv6Network, str]]
) -> str | None:
    for network, words in table:
        if address in network:
            return f"{network} is {words}"
    return None
