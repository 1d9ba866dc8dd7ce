"""The settings of the proxy: how they are read, what is refused, and which calls they are for."""

import pytest

from tocsin.domain.proxy import ProxyRules, read_proxy, tunnel_target


@pytest.mark.parametrize(
    ("text", "host", "port", "literal", "place"),
    [
        ("http://proxy:3128", "proxy", 3128, False, "the proxy proxy:3128"),
        (" HTTP://Proxy.Example.:80/ ", "proxy.example", 80, False, "the proxy proxy.example:80"),
        ("http://bücher.example:1", "xn--bcher-kva.example", 1, False, None),
        ("http://10.0.0.1:8080", "10.0.0.1", 8080, True, "the proxy 10.0.0.1:8080"),
        ("http://[FD00:0::1]:8080", "fd00::1", 8080, True, "the proxy [fd00::1]:8080"),
        ("http://u:p@proxy:3128", "proxy", 3128, False, "the proxy proxy:3128"),
    ],
)
def test_a_proxy_is_read(text: str, host: str, port: int, literal: bool, place: str | None) -> None:
    proxy = read_proxy(text)
    assert (proxy.host, proxy.port, proxy.literal) == (host, port, literal)
    assert place is None or proxy.place == place


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ("ops:secret", "Basic b3BzOnNlY3JldA=="),
        ("token", "Basic dG9rZW46"),
        ("ops:", "Basic b3BzOg=="),
        (":secret", "Basic OnNlY3JldA=="),
        ("o%40:a:b%2F", "Basic b0A6YTpiLw=="),
    ],
)
def test_credentials_become_a_header_that_nothing_shows(credentials: str, header: str) -> None:
    proxy = read_proxy(f"http://{credentials}@proxy:3128")
    assert proxy.authorization == header
    assert header not in repr(proxy)
    assert header not in repr(ProxyRules(proxy=proxy))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("proxy:3128", "no scheme"),
        ("proxy", "no scheme"),
        ("https://proxy:443", "not an HTTP proxy that is spoken to in plain text"),
        ("socks5://proxy:1080", "not an HTTP proxy"),
        ("http://proxy", "no port"),
        ("http://proxy:", "no port"),
        ("http://proxy:0", "no port"),
        ("http://proxy:65536", "no port"),
        ("http://proxy:3I28", "no port"),
        ("http://:3128", "no valid host"),
        ("http://pro xy:3128", "no valid host"),
        ("http://pro..xy:3128", "no valid host"),
        ("http://fd00::1:3128", "no port"),
        ("http://[fd00::1:3128", "brackets"),
        ("http://[proxy]:3128", "brackets"),
        ("http://proxy:3128/path", "percent-encoded"),
        ("http://proxy:3128/?q", "percent-encoded"),
        ("http://ops:geheim@x@proxy:3128", "percent-encoded"),
        ("http://ops:geheim/x@proxy:3128", "percent-encoded"),
        ("http://ops:geheim#x@proxy:3128", "percent-encoded"),
        ("http://ops:geheim%0d%0a@proxy:3128", "control character"),
        ("http://o%3Aps:geheim@proxy:3128", "colon in its user name"),
        ("http://ops:geheim@proxy", "no port"),
        ("ops:geheim@proxy:3128", "no scheme"),
    ],
)
def test_what_is_no_proxy_is_refused_without_repeating_it(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        read_proxy(text)
    assert "geheim" not in str(refused.value)
    assert refused.value.__cause__ is None


ENTRIES = "example.com, .below.example,*.star.example ,10.0.0.0/8,192.0.2.7,fd00::/8,::1,[::2]:81,"
ENTRIES += "port.example:8080,Bücher.example,dot.example.,198.51.100.1:80"


@pytest.mark.parametrize(
    ("host", "port", "direct"),
    [
        ("example.com", 443, True),
        ("example.com.", 443, True),
        ("a.b.example.com", 443, True),
        ("notexample.com", 443, False),
        ("example.com.evil.test", 443, False),
        ("below.example", 443, False),
        ("a.below.example", 443, True),
        ("star.example", 443, False),
        ("a.star.example", 443, True),
        ("port.example", 8080, True),
        ("port.example", 443, False),
        ("xn--bcher-kva.example", 443, True),
        ("dot.example", 443, True),
        ("10.255.0.1", 443, True),
        ("10.1", 443, True),  # a spelling of 10.0.0.1
        ("::ffff:10.0.0.1", 443, True),
        ("11.0.0.1", 443, False),
        ("192.0.2.7", 80, True),
        ("192.0.2.8", 80, False),
        ("198.51.100.1", 80, True),
        ("198.51.100.1", 81, False),
        ("fd12::1", 443, True),
        ("::1", 443, True),
        ("::2", 81, True),
        ("::2", 82, False),
        ("other.example", 443, False),
    ],
)
def test_which_calls_leave_directly(host: str, port: int, direct: bool) -> None:
    rules = ProxyRules.read("http://proxy:3128", ENTRIES)
    assert (rules.of(host, port) is None) is direct
    assert ProxyRules.read("http://proxy:3128", "*").of(host, port) is None
    assert ProxyRules.read("http://proxy:3128", "").of(host, port) is not None
    assert ProxyRules.read(None, "").of(host, port) is None
    assert ProxyRules.read("", ENTRIES).of(host, port) is None


@pytest.mark.parametrize(
    "entry",
    ["http://example.com", "10.0.0.1/8", "a b", "example.com:", "example.com:x", "[::1", "a..b",
     "*.", "foo*", "10.0.0.0/33", "/", "example.com:70000"],
)  # fmt: skip
def test_an_exception_that_is_none_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=r"neither|not a network") as refused:
        ProxyRules.read(None, f"good.example,{entry}")
    assert repr(entry) in str(refused.value)
    assert "good" not in str(refused.value)


def test_a_tunnel_is_asked_for_by_the_address_that_was_checked() -> None:
    for host in ("127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.1.."):
        assert tunnel_target(host, 80) == "127.0.0.1:80"
    assert tunnel_target("::1", 80) == "[::1]:80"
    # The scope names an interface of this machine, which the proxy does not have.
    assert tunnel_target("fe80::1%eth0", 80) == "[fe80::1]:80"
    assert tunnel_target("example.com", 443) == "example.com:443"


def test_an_address_is_called_directly_however_it_is_spelled() -> None:
    rules = ProxyRules.read("http://proxy:3128", "127.0.0.0/8, fe80::/10")
    for host in ("127.0.0.1", "127.1", "0x7f.1", "127.0.0.1.", "127.0.0.1..", "fe80::1%eth0"):
        assert rules.of(host, 80) is None
    assert rules.of("fd00::1%eth0", 80) is not None
