"""Laws of the egress guard, over all addresses."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import example, given
from hypothesis import strategies as st

from tocsin.domain.egress import EgressRules
from tocsin.domain.networks import literal_address, why_special

FOURS = st.integers(0, 2**32 - 1).map(IPv4Address)
SIXES = st.integers(0, 2**128 - 1).map(IPv6Address)
RULES = EgressRules()


def wrappings(address: IPv4Address) -> list[IPv6Address]:
    """Each way to write an IPv4 address as an IPv6 one that may lead to it."""
    bits = int(address)
    high, low = bits >> 16, bits & 0xFFFF
    return [
        IPv6Address(0xFFFF << 32 | bits),
        IPv6Address(0xFFFF << 48 | bits),
        IPv6Address(0x0064_FF9B << 96 | bits),
        IPv6Address(0x0064_FF9B_0001 << 80 | bits),
        IPv6Address(0x0064_FF9B_0001 << 80 | high << 64 | low << 40),
        IPv6Address(0x2002 << 112 | bits << 80),
        IPv6Address(0x2001 << 112 | bits << 64),
        IPv6Address(0x2001 << 112 | bits ^ 0xFFFF_FFFF),
        IPv6Address(0x2A00_1450 << 96 | 0x5EFE << 32 | bits),
        IPv6Address(0x2A00_1450 << 96 | 0x0200_5EFE << 32 | bits),
    ]


@given(FOURS)
@example(IPv4Address("127.0.0.1"))
@example(IPv4Address("169.254.169.254"))
@example(IPv4Address("168.63.129.16"))
def test_what_is_forbidden_is_so_in_every_wrapping(address: IPv4Address) -> None:
    if why_special(address) is not None:
        for wrapped in wrappings(address):
            assert why_special(wrapped) is not None, wrapped


@given(FOURS)
def test_nat64_and_mapped_addresses_are_judged_by_what_is_in_them(address: IPv4Address) -> None:
    for wrapped in (wrappings(address)[0], wrappings(address)[2]):
        assert (why_special(wrapped) is None) == (why_special(address) is None)


@given(FOURS | SIXES)
@example(IPv6Address("::1"))
def test_what_python_does_not_take_for_global_is_forbidden(
    address: IPv4Address | IPv6Address,
) -> None:
    inner = getattr(address, "ipv4_mapped", None) or address
    nat64 = int(address) >> 32 == 0x0064_FF9B << 64
    if not inner.is_global and not nat64:
        assert why_special(address) is not None


@given(FOURS)
def test_every_spelling_of_an_address_is_the_address(address: IPv4Address) -> None:
    bits = int(address)
    a, b, c, d = address.packed
    for text in (
        str(bits),
        hex(bits),
        f"0{bits:o}",
        f"{a}.{bits & 0xFFFFFF}",
        f"{a}.{b}.{bits & 0xFFFF}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{address}.",
    ):
        assert literal_address(text) == address, text
        assert (RULES.why_never(text, 80) is None) == (why_special(address) is None)


@given(FOURS | SIXES, st.integers(1, 65_535))
def test_what_can_never_be_allowed_is_not_allowed_at_a_call(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    host = str(address)
    assert RULES.why_never(host, port) == RULES.why_forbidden(host, port, host)
    assert RULES.why_forbidden(host, port, "") == RULES.why_forbidden(host, port, host)


@given(FOURS | SIXES, st.integers(1, 65_535))
def test_the_deny_list_wins_and_a_star_denies_the_rest(
    address: IPv4Address | IPv6Address, port: int
) -> None:
    host = str(address)
    both = EgressRules.read(allow=host, deny=host)
    assert both.why_forbidden(host, port, host) is not None
    only = EgressRules.read(allow=host, deny="*")
    assert only.why_forbidden("x", port, host) is None
    other = address + 1 if int(address) % 2 == 0 else address - 1
    assert only.why_forbidden("x", port, str(other)) is not None
