"""Every setting of a Tocsin process, with its default, unit and environment variable.

Each field is read from ``TOCSIN_<NAME>`` and can be overridden by the command line. Only ``app``
and ``cli`` read this module; everything else is handed the values that it needs.
``docs/configuration.md`` is generated from here.
"""

import ipaddress
import platform
import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from tocsin.domain.duration import format_duration, parse_duration
from tocsin.domain.egress import EgressRules
from tocsin.domain.proxy import ProxyRules

Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "format": "duration"}),
]
"""Milliseconds, written as ``30s``, ``1h30m``, ``PT30S`` or a number of seconds."""


def _proxy(text: str | None) -> str | None:
    ProxyRules.read(text, "")
    return text


def _no_proxy(text: str) -> str:
    ProxyRules.read(None, text)
    return text


_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+", re.ASCII)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a comma-separated setting."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _places(text: str) -> str:
    EgressRules.read(allow=text)
    return text


def _denied_places(text: str) -> str:
    EgressRules.read(deny=text)
    return text


def _ports(text: str) -> str:
    EgressRules.read(ports=text)
    return text


def _rate(text: str) -> str:
    from limits import parse

    if text.strip().lower() == "off":
        return text
    try:
        rate = parse(text)
    except ValueError:
        rate = None
    if rate is None or rate.amount < 1:
        raise ValueError("is not a rate such as 100/minute, or off")
    return text


def _redis(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        known = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("is not a URL such as redis://HOST:6379/0 or rediss://HOST:6379/0")
    return text


class Settings(BaseSettings):
    """The settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="TOCSIN_", frozen=True, extra="ignore", validate_default=False
    )

    # --- Server
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the API; 0 takes a free one.")
    tls_cert: str | None = Field(
        None,
        description="Certificate chain of the API, as PEM: it is then served by HTTPS only. Read "
        "again when the file changes.",
    )
    tls_key: str | None = Field(None, description="The private key of that certificate, as PEM.")
    database: str = Field(
        "sqlite:///tocsin.db",
        description="Where everything is kept: `sqlite:///FILE` (four slashes: absolute path), or "
        "`postgresql://USER:PASSWORD@HOST:5432/NAME` with any parameter of libpq.",
    )
    database_wait: Duration = Field(
        30_000,
        ge=0,
        le=3_600_000,
        description="How long a start waits for a PostgreSQL server that does not answer.",
    )
    redis: Annotated[str | None, AfterValidator(_redis)] = Field(
        None,
        description="A Redis that nodes share rate limits and events through: "
        "`redis://:PASSWORD@HOST:6379/0`, with TLS `rediss://…`. Without it, and while it is away, "
        "each node counts by itself, and events travel through the database.",
    )
    notify: bool = Field(
        True,
        description="Tell other nodes of changes at once, and hear theirs: by notifications of "
        "PostgreSQL, or between the processes of one host. Without, everything works at the speed "
        "of polling.",
    )
    database_prepare: bool = Field(
        True,
        description="Prepare statements on PostgreSQL; not behind a pooler in transaction mode "
        "that cannot follow them (PgBouncer before 1.21).",
    )
    node_name: str = Field(
        default_factory=lambda: platform.node() or "node",
        min_length=1,
        max_length=100,
        description="Name of this process in attempts, logs and metrics; need not be unique. "
        "By default the host name.",
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share the address, each a node named `<node_name>-1` and so "
        "on; with more than one, another process supervises them. One for each CPU core is plenty.",
    )
    auth: Literal["on", "off"] = Field(
        "on",
        description="`off`: everybody who reaches the address may do everything. For experiments "
        "only, and only where `host` is a loopback address.",
    )
    session_lifetime: Duration = Field(
        7 * 86_400_000,
        ge=60_000,
        le=365 * 86_400_000,
        description="How long a browser stays signed in.",
    )
    bootstrap_key: str | None = Field(
        None,
        repr=False,
        min_length=8,
        max_length=200,
        pattern=r"^[\x21-\x7e]*$",
        description="The first admin's key, instead of a random one, on a database that never had "
        "any: 8 to 200 visible ASCII characters, of which at least 32 should be random.",
    )
    trusted_proxies: str = Field(
        "",
        description="Comma-separated addresses and networks of proxies whose `X-Forwarded-For` "
        "and `X-Forwarded-Proto` are believed; by default nobody's are.",
    )
    cors_origins: str = Field(
        "",
        description="Comma-separated origins (`https://tools.example.com`) whose pages may call "
        "the API with a key; by default none may.",
    )
    public_metrics: bool = Field(
        False, description="Answer `/metrics` without a key too; it holds figures, no names."
    )
    demo: bool = Field(False, description="Add a few demonstration jobs on an empty database.")

    # --- Firing
    claim_horizon: Duration = Field(
        1_000, ge=0, le=60_000, description="How long before its instant a fire is claimed."
    )
    poll_interval: Duration = Field(
        500,
        ge=10,
        le=30_000,
        description="Longest time between two looks for due work; at most half of the horizon, so "
        "that claims stay ahead (with a horizon of zero: any).",
    )
    max_held: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Claims held in memory at most; the rest waits in the store.",
    )
    max_in_flight: int = Field(1_000, ge=1, le=100_000, description="Calls under way at most.")
    max_in_flight_per_lane: int = Field(
        250,
        ge=1,
        le=100_000,
        description="Calls under way at most to the targets of one lane (by origin), so that a "
        "target that hangs cannot take all.",
    )
    max_in_flight_per_job: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Calls of one job under way at most; what is due of it beyond that waits in "
        "the store.",
    )
    lease_ttl: Duration = Field(
        5_000, ge=500, le=300_000, description="How long a node's lease lasts without a renewal."
    )
    heartbeat_interval: Duration = Field(
        1_000,
        ge=100,
        le=60_000,
        description="How often the lease is renewed; under half of its length.",
    )
    adopt_interval: Duration = Field(
        10_000, ge=1_000, le=600_000, description="How often a node re-reads what it owns."
    )
    shutdown_grace: Duration = Field(
        30_000,
        ge=0,
        le=3_600_000,
        description="How long a stopping node waits for calls under way.",
    )

    # --- Calls
    max_response: int = Field(
        1_048_576, ge=0, le=1_073_741_824, description="Bytes of an answer that are read at most."
    )
    excerpt: int = Field(4_096, ge=0, le=65_536, description="Bytes of an answer that are kept.")
    connect_timeout: Duration = Field(
        10_000,
        ge=10,
        le=300_000,
        description="Longest wait for a connection, within the attempt's timeout.",
    )
    idle_connection: Duration = Field(
        4_000,
        ge=0,
        le=3_600_000,
        description="How long an unused connection is kept open. Many servers close theirs after "
        "5 s; a call that meets such a close may have to be made again.",
    )
    egress_allow: Annotated[str, AfterValidator(_places)] = Field(
        "",
        description="Comma-separated networks, addresses and hosts (`10.0.0.0/8`, "
        "`[fd00::1]:8080`, `*.internal`) that calls may reach although they are not public.",
    )
    egress_deny: Annotated[str, AfterValidator(_denied_places)] = Field(
        "",
        description="The same for places that calls may never reach; `*` is everything that "
        "`egress_allow` does not name.",
    )
    egress_ports: Annotated[str, AfterValidator(_ports)] = Field(
        "",
        description="Comma-separated ports and ranges (`443`, `8000-8999`) that calls may reach; "
        "by default every port.",
    )

    proxy: Annotated[str | None, AfterValidator(_proxy)] = Field(
        None,
        repr=False,
        description="HTTP proxy that calls leave through, by CONNECT: `http://HOST:PORT` or "
        "`http://USER:PASSWORD@HOST:PORT`. Without, they leave directly.",
    )
    no_proxy: Annotated[str, AfterValidator(_no_proxy)] = Field(
        "localhost,127.0.0.0/8,::1",
        description="Comma-separated targets that are called without the proxy: hosts with all "
        "below them, addresses, networks, each with a port where only that is meant; `*` is all.",
    )

    # --- Secrets
    secret_key: str | None = Field(
        None,
        repr=False,
        description="Master key that secrets are encrypted with, the same on every node: 32 bytes "
        "in base64 or hexadecimal. Several, separated by commas: the first encrypts, all decrypt. "
        "By default, on SQLite, a file beside the database.",
    )
    secret_key_file: str | None = Field(
        None, description="File with the master keys instead, one per line."
    )

    # --- Defaults of jobs
    default_timeout: Duration = Field(
        30_000, ge=1, le=86_400_000, description="`target.timeout` where a job has none."
    )
    default_max_attempts: int = Field(
        3, ge=1, le=100, description="`retry.max_attempts` where a job has none."
    )
    default_retry_initial: Duration = Field(
        1_000, ge=0, le=86_400_000, description="`retry.initial` where a job has none."
    )
    default_retry_factor: float = Field(
        2.0, ge=1, le=100, description="`retry.factor` where a job has none."
    )
    default_retry_max: Duration = Field(
        300_000, ge=0, le=604_800_000, description="`retry.max` where a job has none."
    )
    default_retry_jitter: float = Field(
        0.1, ge=0, le=1, description="`retry.jitter` where a job has none."
    )
    default_misfire: Literal["latest", "all", "skip"] = Field(
        "latest", description="`misfire.policy` where a job has none."
    )

    # --- Limits
    max_jobs: int = Field(1_000_000, ge=0, description="Jobs that are not deleted, at most.")
    min_interval: Duration = Field(
        1_000,
        ge=1_000,
        le=86_400_000,
        description="How close two fires of a job may be; schedules that fire more often are "
        "refused when they are saved. Jobs that exist keep theirs.",
    )
    max_definition_bytes: int = Field(
        4_294_967_296, ge=0, description="Bytes of all definitions as JSON, at most."
    )
    max_body: int = Field(
        1_048_576, ge=1_024, description="Bytes of a request body to the API, at most."
    )
    max_batch_body: int = Field(
        67_108_864, ge=1_024, description="Bytes of the body of a batch, at most."
    )
    max_connections: int = Field(
        2_000,
        ge=2,
        le=50_000,
        description="Connections to the API at once, in each process; half of them from one "
        "address, unless it is a trusted proxy's. Never more than half of the files that the "
        "process may have open, because calls need files too.",
    )
    max_batch: int = Field(10_000, ge=1, le=100_000, description="Jobs in one batch, at most.")

    rate_limit: Annotated[str, AfterValidator(_rate)] = Field(
        "100/minute",
        description="Writes to the API that one key, or one address without a key, may make, such "
        "as `100/minute`; reads may be twenty times as many. `off`: no limit.",
    )

    # --- History
    retention: Duration = Field(
        30 * 86_400_000, ge=60_000, description="How long ended executions are kept."
    )
    audit_retention: Duration = Field(
        400 * 86_400_000,
        ge=86_400_000,
        description="How long entries of the audit log are kept; they are deleted by whole days, "
        "and an entry tells of it.",
    )
    retention_interval: Duration = Field(
        60_000, ge=1_000, le=86_400_000, description="How often old history is looked for."
    )
    events_kept: int = Field(
        10_000, ge=10, le=1_000_000, description="Events that `/api/v1/events` can resume from."
    )
    degraded_ratio: float = Field(
        0.1,
        ge=0,
        le=1,
        description="`/healthz` says `degraded` when more than this part of the executions of the "
        "last ten minutes failed.",
    )

    # --- Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe messages that are logged."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto` is `console` on a terminal and `json` otherwise."
    )
    log_file: str | None = Field(
        None, description="Also log to this file, as JSON; by default only to standard error."
    )
    log_file_bytes: int = Field(
        52_428_800, ge=1_024, description="The log file is rotated at this size."
    )
    log_file_count: int = Field(5, ge=0, le=1_000, description="Rotated log files that are kept.")

    @field_validator("bootstrap_key", "secret_key", "redis", mode="before")
    @classmethod
    def _none_if_empty(cls, text: object) -> object:
        # Compose files and manifests set a variable to nothing where they mean none.
        if text == "change-me":
            raise ValueError("is what the examples have; make one: tcs_$(openssl rand -hex 32)")
        return text or None

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, text: str) -> str:
        for word in words_of(text):
            try:
                ipaddress.ip_network(word)
            except ValueError:
                raise ValueError(
                    f"{word!r} is neither an address nor a network such as 10.0.0.0/8"
                ) from None
        return text

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, text: str) -> str:
        for word in words_of(text):
            if not _ORIGIN.fullmatch(word):
                raise ValueError(f"{word!r} is not an origin such as https://tools.example.com")
        return text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.auth == "off" and not _is_loopback(self.host):
            raise ValueError(
                "auth=off is only possible where host is a loopback address (127.0.0.1, ::1 or "
                f"localhost), and {self.host!r} is none: others could do everything"
            )
        if self.heartbeat_interval * 2 > self.lease_ttl:
            raise ValueError(
                "heartbeat_interval must be at most half of lease_ttl, "
                "or one late renewal loses the lease"
            )
        if self.claim_horizon and self.poll_interval * 2 > self.claim_horizon:
            raise ValueError(
                "poll_interval must be at most half of claim_horizon, or fires are claimed late"
            )
        if self.max_in_flight > self.max_held:
            raise ValueError("max_in_flight must not exceed max_held")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; give both or none")
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
