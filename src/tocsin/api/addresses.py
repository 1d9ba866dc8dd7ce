"""Who counts as one, by the address that a request or a connection comes from."""

import ipaddress

NETWORK_6 = 64
"""Bits of an IPv6 address that count: whoever has one has all that begin alike."""


def neighbourhood(address: str) -> str:
    """The address, of IPv6 its network; raises ``ValueError`` for what is none."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, NETWORK_6), strict=False).network_address)
