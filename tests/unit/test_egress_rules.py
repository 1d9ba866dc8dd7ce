"""The rules of the egress guard: which addresses, hosts and ports are reached."""

import pytest

from tocsin.delivery.http import EgressGuard
from tocsin.domain.egress import EgressRules
from tocsin.domain.networks import literal_address, parse_address, why_special

FORBIDDEN = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "127.0.0.1"),
    *("127.255.255.254", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "fc00::1", "fd00::1"),
    *("ff02::1", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "fd00:ec2::254", "fd20:ce::254"),
    *("4000::1", "1::1", "8000::1", "2001:2::1", "2001:10::1", "2001:20::1"),
    # IPv4 in IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
    *("::10.1.2.3", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::8.8.8.8", "64:ff9b:1:a9fe:a9:fe00::", "2002:7f00:1::", "2002:808:808::"),
    *("2001:0:4136:e378:8000:63bf:80ff:fffe", "2001::1", "2a00:1450::5efe:10.0.0.1"),
    "2a00:1450::200:5efe:127.0.0.1",
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
    *("126.255.255.255", "128.0.0.1", "169.253.255.255", "169.255.0.0", "172.15.255.255"),
    *("172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255"),
    *("198.20.0.0", "223.255.255.255", "168.63.129.15"),
    *("2001:4860:4860::8888", "2606:4700::1111", "2a00:1450:4001::1", "2001:200::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2a00:1450::5efe:8.8.8.8"),
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_what_is_not_public_is_forbidden_with_its_reason(address: str) -> None:
    why = EgressRules().why_forbidden("example.com", 443, address)
    assert why is not None
    assert why.endswith("; TOCSIN_EGRESS_ALLOW can allow it")
    assert "(RFC" in why or "is the " in why


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address: str) -> None:
    assert EgressRules().why_forbidden("example.com", 443, address) is None


def test_the_reason_names_the_rule_and_what_is_within() -> None:
    def why(address: str) -> str:
        return why_special(parse_address(address)) or ""

    assert why("127.0.0.1") == "127.0.0.0/8 is loopback (RFC 1122)"
    assert why("169.254.169.254") == "169.254.169.254 is the metadata service of clouds"
    assert why("64:ff9b::a00:1") == (
        "64:ff9b::a00:1 leads to 10.0.0.1; 10.0.0.0/8 is private (RFC 1918)"
    )
    assert why("2001::1") == (
        "2001::1 leads to 255.255.255.254; 240.0.0.0/4 is reserved (RFC 1112)"
    )


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1"),
        *(
            "017700000001",
            "0x7f.0x0.0x0.0x1",
            "127.0.0.1.",
            "127.0.0.1..",
            "fe80::1%eth0",
            "0x7F.1",
            "[::1]",
            "::1",
        ),
        *("::ffff:127.0.0.1", "[::ffff:7f00:1]", "0:0:0:0:0:0:0:1", "localhost", "localhost."),
        *("a.localhost", "deep.er.localhost.", "0", "0.0.0.0", "2852039166", "0xa9fea9fe"),
    ],
)
def test_a_host_that_can_never_be_allowed_is_known_by_its_spelling(host: str) -> None:
    assert EgressRules().why_never(host, 80) is not None


@pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "134744072", "1e100.net", "cafe.dead"])
def test_a_name_or_a_public_address_may_be_saved(host: str) -> None:
    assert EgressRules().why_never(host, 80) is None


def test_what_spells_an_address() -> None:
    assert str(literal_address("0x7f.1")) == "127.0.0.1"
    assert str(literal_address("[::1]")) == "::1"
    assert str(literal_address("127.0.0.1..")) == "127.0.0.1"
    assert str(literal_address("[fe80::1%eth0]")) == "fe80::1"
    assert literal_address("example.com") is None
    assert literal_address("127.0.0.1.example.com") is None
    assert literal_address("") is None
    assert literal_address("ex\u00e4mple") is None


# --- allowing and denying


def allowed(rules: EgressRules, host: str, port: int, address: str) -> bool:
    return rules.why_forbidden(host, port, address) is None


def test_a_network_is_allowed_in_each_of_its_wrappings() -> None:
    rules = EgressRules.read(allow="10.0.0.0/8, ::1")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "::1"):
        assert allowed(rules, "any.example", 80, address)
    for address in ("127.0.0.1", "192.168.0.1", "::ffff:127.0.0.1"):
        assert not allowed(rules, "any.example", 80, address)
    assert rules.why_never("0x0a.1", 80) is None
    assert rules.why_never("localhost", 80) is None  # ::1 is one of its addresses


def test_an_address_that_can_be_read_in_two_ways_has_to_be_allowed_in_both() -> None:
    rules = EgressRules.read(allow="10.0.0.0/8")
    assert allowed(rules, "any.example", 80, "64:ff9b:1::10.1.2.3")
    assert allowed(rules, "any.example", 80, "64:ff9b:1:a01:2:300::")
    for address in (
        "64:ff9b:1:c0a8:0:100:a01:203",  # 10.1.2.3, or 192.168.0.1
        "64:ff9b:1:a01:2:300:c0a8:1",
        "2001:0:a01:203::5601:5601",  # by 10.1.2.3 to 169.254.169.254
    ):
        assert not allowed(rules, "any.example", 80, address), address
    for network in ("192.168.0.0/16", "169.254.0.0/16"):
        denied = EgressRules.read(allow="::/0", deny=network)
        assert denied.why_forbidden("any.example", 80, "64:ff9b:1:c0a8:0:100:a9fe:1") is not None


def test_one_port_of_an_address() -> None:
    rules = EgressRules.read(allow="127.0.0.1:8080,[::1]:8081,db.internal:5000")
    assert allowed(rules, "127.0.0.1", 8080, "127.0.0.1")
    assert not allowed(rules, "127.0.0.1", 8081, "127.0.0.1")
    assert not allowed(rules, "127.0.0.2", 8080, "127.0.0.2")
    assert allowed(rules, "::1", 8081, "::1")
    assert allowed(rules, "db.internal", 5000, "10.0.0.9")
    assert not allowed(rules, "db.internal", 5001, "10.0.0.9")


def test_a_name_allows_its_private_addresses_but_never_those_with_credentials_behind() -> None:
    rules = EgressRules.read(allow="hooks.internal,*.corp.example")
    assert allowed(rules, "hooks.internal", 80, "10.0.0.1")
    assert allowed(rules, "hooks.internal.", 80, "127.0.0.1")
    assert allowed(rules, "a.b.corp.example", 80, "192.168.0.1")
    assert not allowed(rules, "corp.example", 80, "192.168.0.1")
    assert not allowed(rules, "evilcorp.example", 80, "192.168.0.1")
    assert not allowed(rules, "x.hooks.internal", 80, "10.0.0.1")
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "::"):
        assert not allowed(rules, "hooks.internal", 80, address)
    for metadata in ("169.254.0.0/16", "169.254.169.254"):
        assert allowed(EgressRules.read(allow=metadata), "x", 80, "169.254.169.254")


def test_the_deny_list_wins() -> None:
    rules = EgressRules.read(allow="10.0.0.0/8", deny="10.9.0.0/16,*.bad.example,8.8.8.8:53")
    assert allowed(rules, "x", 80, "10.1.0.1")
    assert not allowed(rules, "x", 80, "10.9.0.1")
    assert not allowed(rules, "x", 80, "::ffff:10.9.0.1")
    assert not allowed(rules, "www.bad.example", 443, "1.1.1.1")
    assert not allowed(rules, "x", 53, "8.8.8.8")
    assert allowed(rules, "x", 443, "8.8.8.8")
    assert rules.why_never("www.bad.example", 443) == (
        "*.bad.example is on the deny list (TOCSIN_EGRESS_DENY)"
    )


def test_a_star_denies_everything_that_is_not_allowed_by_name() -> None:
    rules = EgressRules.read(allow="api.example.com,10.0.0.0/8", deny="*")
    assert allowed(rules, "api.example.com", 443, "1.1.1.1")
    assert allowed(rules, "x", 443, "10.0.0.1")
    why = rules.why_forbidden("www.example.com", 443, "1.1.1.1")
    assert why == "only what is on the allow list may be called (TOCSIN_EGRESS_DENY has *)"


def test_ports_can_be_limited() -> None:
    rules = EgressRules.read(allow="10.0.0.0/8,10.0.0.7:9999", ports="443, 8000-8010")
    assert allowed(rules, "x", 443, "1.1.1.1")
    assert allowed(rules, "x", 8005, "1.1.1.1")
    why = rules.why_forbidden("x", 22, "1.1.1.1")
    assert why == "port 22 is not among the ports of TOCSIN_EGRESS_PORTS"
    assert not allowed(rules, "x", 22, "10.0.0.1")
    assert allowed(EgressRules.read(allow="10.0.0.7:9999", ports="443"), "x", 9999, "10.0.0.7")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"allow": "10.0.0.1/8"}, "is not a network"),
        ({"allow": "10.0.0.0/33"}, "is not a network"),
        ({"allow": "http://x"}, "is not a network"),
        ({"allow": "*"}, "is neither"),
        ({"allow": "a b"}, "is neither"),
        ({"allow": "127.1"}, "is neither"),
        ({"deny": "a..b"}, "is neither"),
        ({"allow": "x:99999"}, "is not a port"),
        ({"allow": "x:1-2"}, "has a port that is not a number"),
        ({"ports": "0"}, "is not a port"),
        ({"ports": "9-3"}, "is not a port"),
        ({"ports": "https"}, "is not a port"),
    ],
)
def test_rules_that_cannot_be_read_are_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EgressRules.read(**given)


# --- through a proxy, which resolves the names


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f.1", "2130706433", "::1", "localhost", "a.localhost.", "127.1"]
)
def test_what_a_proxy_is_asked_for_is_looked_at_by_its_spelling(host: str) -> None:
    assert EgressRules().why_forbidden(host, 80, "") is not None
    assert EgressGuard(EgressRules()).check(host, 80, "") is not None


def test_names_that_a_proxy_resolves_are_held_to_the_lists() -> None:
    assert allowed(EgressRules(), "example.com", 443, "")
    assert allowed(EgressRules(), "8.8.8.8", 443, "")
    assert not allowed(EgressRules.read(deny="*.bad.example"), "x.bad.example", 443, "")
    only = EgressRules.read(allow="api.example.com,hooks.internal:8080", deny="*", ports="443")
    assert allowed(only, "api.example.com", 443, "")
    assert not allowed(only, "api.example.com", 80, "")
    assert allowed(only, "hooks.internal", 8080, "")
    assert not allowed(only, "hooks.internal", 8081, "")
    assert not allowed(only, "example.com", 443, "")
    assert not allowed(EgressRules.read(ports="443"), "example.com", 22, "")


# --- the guard


def test_a_decision_is_made_once() -> None:
    guard = EgressGuard(EgressRules())
    first = guard.check("example.com", 80, "127.0.0.1")
    assert first is not None
    assert guard.check("example.com", 80, "127.0.0.1") is first
    assert guard.check("example.com", 80, "1.1.1.1") is None
    assert guard.check("example.com", 80, "1.1.1.1") is None


def test_the_guard_does_not_grow_without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.delivery.http.guard._MAX_KNOWN", 10)
    guard = EgressGuard(EgressRules())
    for port in range(1, 100):
        assert guard.check("example.com", port, "127.0.0.1") is not None
    assert len(guard._known) <= 10


def test_what_is_no_address_is_forbidden() -> None:
    assert EgressGuard(EgressRules()).check("x", 80, "not-an-address") is not None
