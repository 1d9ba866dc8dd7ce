"""Settings: where they come from, what is refused, and how they are shown."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tocsin.cli.catalogue import (
    Kind,
    by_group,
    hide_password,
    human_bytes,
    settings_catalogue,
    shown_value,
    sized,
)
from tocsin.cli.effective import effective_settings, source_of, unknown_variables
from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.settings import Settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in settings_catalogue():
        monkeypatch.delenv(setting.variable, raising=False)


def problems(**given: str) -> list[str]:
    with pytest.raises(CommandFailed) as caught:
        effective_settings(given)
    assert caught.value.exit_code is ExitCode.USAGE
    return list(caught.value.details)


def test_an_option_wins_over_its_variable_and_that_over_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert effective_settings({}).port == 8080
    monkeypatch.setenv("TOCSIN_PORT", "9000")
    assert effective_settings({}).port == 9000
    assert effective_settings({"port": "9001"}).port == 9001


@pytest.mark.parametrize(
    ("text", "ms"), [("60s", 60_000), ("1h30m", 5_400_000), ("P1D", 86_400_000), ("90", 90_000)]
)
def test_durations_are_read_as_people_write_them(
    text: str, ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_RETENTION", text)
    assert Settings().retention == ms


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_the_secret_is_in_no_representation() -> None:
    assert "geheimnis" not in repr(Settings(bootstrap_key="geheimnis"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"port": "99999"}, "--port '99999': must be a whole number, 0 to 65535"),
        ({"lease_ttl": "100ms"}, "--lease-ttl '100ms': must be a duration, 500ms to 5m"),
        (
            {"log_level": "loud"},
            "--log-level 'loud': must be one of debug, info, warning, error",
        ),
        ({"demo": "perhaps"}, "--demo 'perhaps': must be true or false"),
        ({"node_name": ""}, "--node-name '': must be text of 1 to 100 characters"),
        (
            {"redis": "http://x"},
            "--redis 'http://x' is not a URL such as redis://HOST:6379/0 or rediss://HOST:6379/0",
        ),
        (
            {"redis": "redis://:geheim@x:abc"},
            "--redis 'redis://:********@x:abc' is not a URL such as redis://HOST:6379/0 or "
            "rediss://HOST:6379/0",
        ),
        ({"rate_limit": "1/eon"}, "--rate-limit '1/eon' is not a rate such as 100/minute, or off"),
        ({"max_body": "x"}, "--max-body 'x': must be a number of bytes, at least 1 KiB"),
    ],
)
def test_a_refused_setting_is_named_with_what_would_be_accepted(
    given: dict[str, str], expected: str
) -> None:
    assert problems(**given) == [expected]


def test_a_malformed_duration_says_what_durations_look_like() -> None:
    [problem] = problems(lease_ttl="1x")
    assert problem.startswith("--lease-ttl: '1x' is not a duration such as 30s")


def test_every_refused_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_MAX_HELD", "0")
    assert [one.split()[0] for one in problems(port="x", excerpt="y")] == [
        "--port",
        "TOCSIN_MAX_HELD",
        "--excerpt",
    ]


def test_settings_that_contradict_each_other_are_named_as_options() -> None:
    [problem] = problems(lease_ttl="1s", heartbeat_interval="900ms")
    assert problem.startswith("--heartbeat-interval must be at most half of --lease-ttl")
    [problem] = problems(tls_cert="x.pem")
    assert problem == "--tls-cert and --tls-key go together; give both or none"
    [problem] = problems(max_in_flight="30000")
    assert problem == "--max-in-flight must not exceed --max-held"


def test_a_refused_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pw" not in hide_password("postgresql://user:pw@host/db?password=pw&x=1")
    assert hide_password("sqlite:////var/x.db") == "sqlite:////var/x.db"
    secrets = [setting for setting in settings_catalogue() if setting.secret]
    assert {"proxy", "secret_key", "bootstrap_key"} <= {secret.name for secret in secrets}
    assert {shown_value(secret, "geheim") for secret in secrets} == {"********"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"proxy": "http://ops:geheim@proxy"},
            "--proxy ******** has no port from 1 to 65535; "
            "write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT",
        ),
        (
            {"no_proxy": "10.0.0.1/8"},
            "--no-proxy: '10.0.0.1/8' is not a network such as 10.0.0.0/8 or fd00::/8 "
            "(no bits may be set behind the prefix)",
        ),
    ],
)
def test_a_refused_proxy_says_what_would_be_accepted_and_no_password(
    given: dict[str, str], expected: str
) -> None:
    assert problems(**given) == [expected]


def test_an_empty_proxy_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_PROXY", "")
    assert not effective_settings({}).proxy
    assert "geheim" not in repr(Settings(proxy="http://ops:geheim@proxy:3128"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"bootstrap_key": "short"},
            "--bootstrap-key ********: must be text of 8 to 200 characters",
        ),
        (
            {"bootstrap_key": "change-me"},
            "--bootstrap-key ******** is what the examples have; "
            "make one: tcs_$(openssl rand -hex 32)",
        ),
        (
            {"auth": "off", "host": "0.0.0.0"},
            "auth=off is only possible where host is a loopback address (127.0.0.1, ::1 or "
            "localhost), and '0.0.0.0' is none: others could do everything",
        ),
        (
            {"trusted_proxies": "10.0.0.0/8, everybody"},
            "--trusted-proxies '10.0.0.0/8, everybody' 'everybody' is neither an address nor a "
            "network such as 10.0.0.0/8",
        ),
        (
            {"cors_origins": "*"},
            "--cors-origins: '*' is not an origin such as https://tools.example.com",
        ),
    ],
)
def test_what_would_let_others_in_is_refused(given: dict[str, str], expected: str) -> None:
    assert problems(**given) == [expected]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_keys_can_be_off_on_loopback_addresses(host: str) -> None:
    assert Settings(auth="off", host=host).auth == "off"
    assert Settings(bootstrap_key="").bootstrap_key is None


def test_a_misspelt_variable_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_SERVER", "http://x")
    monkeypatch.setenv("TOCSIN_TEST_SCALE", "1")
    monkeypatch.setenv("TOCSIN_PROT", "1")
    assert unknown_variables() == [
        "the environment variable TOCSIN_PROT is not known and ignored; did you mean TOCSIN_PORT?"
    ]


def test_the_catalogue_has_every_setting_under_the_heading_it_stands_under() -> None:
    source = Path(str(Settings.__module__.replace(".", "/") + ".py"))
    text = (Path(__file__).parents[2] / "src" / source).read_text()
    headings = re.findall(r"# --- (.+)", text)
    groups = list(by_group(settings_catalogue()))
    assert [group for group, _ in groups] == headings
    assert [setting.name for setting in settings_catalogue()] == list(Settings.model_fields)
    assert {setting.name: setting.group for setting in settings_catalogue()}["port"] == "Server"


def test_every_setting_is_described_by_a_sentence() -> None:
    for setting in settings_catalogue():
        assert setting.description.endswith("."), setting.name
        assert setting.variable == f"TOCSIN_{setting.name.upper()}"


def test_defaults_are_written_as_people_would_write_them() -> None:
    shown = {setting.name: setting.shown_default for setting in settings_catalogue()}
    assert shown["retention"] == "30d"
    assert shown["max_response"] == "1048576 (1 MiB)"
    assert shown["demo"] == "false"
    assert shown["default_retry_factor"] == "2"
    assert shown["log_file"] == ""
    for setting in settings_catalogue():
        if setting.default:  # what is shown can be typed
            value = setting.default
            assert getattr(Settings(**{setting.name: value}), setting.name) == getattr(
                Settings(), setting.name
            )


def test_the_kind_of_each_setting_is_known() -> None:
    kinds = {setting.name: setting.kind for setting in settings_catalogue()}
    assert kinds["lease_ttl"] is Kind.DURATION
    assert kinds["excerpt"] is Kind.BYTES
    assert kinds["log_file_bytes"] is Kind.BYTES
    assert kinds["log_file"] is Kind.TEXT
    assert kinds["default_misfire"] is Kind.CHOICE
    assert kinds["default_retry_factor"] is Kind.NUMBER


def test_where_a_value_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    port = next(setting for setting in settings_catalogue() if setting.name == "port")
    assert source_of(port) == "default"
    monkeypatch.setenv("TOCSIN_PORT", "1")
    assert source_of(port) == "TOCSIN_PORT"


def test_sizes() -> None:
    assert [human_bytes(size) for size in (0, 1_000, 1_024, 3 << 20, 1 << 30)] == [
        "0",
        "1000",
        "1 KiB",
        "3 MiB",
        "1 GiB",
    ]
    assert sized(1_000) == "1000"
