"""Random domain values."""

import base64
from typing import Any

from hypothesis import strategies as st

from tocsin.domain.codes import CodeRule
from tocsin.domain.duration import MAX_DURATION
from tocsin.domain.execution import Attempt, ErrorKind, ResponseExcerpt, Timings
from tocsin.domain.instant import DAY, HOUR, MAX_INSTANT, MINUTE, SECOND
from tocsin.domain.job import (
    BodyKind,
    DeliveryMode,
    HttpTarget,
    JobSpec,
    LogTarget,
    Misfire,
    MisfirePolicy,
    Overlap,
    Target,
)
from tocsin.domain.retry import NETWORK_KINDS, RetryPolicy
from tocsin.domain.schedule import At, Cron, Every, Schedule

instants = st.integers(0, MAX_INSTANT)
durations = st.integers(0, MAX_DURATION)
texts = st.text(st.characters(codec="utf-8"), max_size=30)
"""Any text that can be written as UTF-8, control characters and zeros included."""

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
CRONS = (
    "* * * * * *",
    "*/7 * * * * *",
    "31 10-15 1 * * MON-FRI",
    "* * * * *",
    "*/5 * * * *",
    "0 2 * * *",
    "30 1-3 * * SUN",
    "0 12 L * *",
    "0 9 * * MON#2",
    "@hourly",
)

kinds = (
    st.builds(Cron, expression=st.sampled_from(CRONS))
    | st.builds(Every, interval=st.integers(1, 400 * DAY), anchor=instants)
    | st.builds(At, instant=instants)
)
schedules = st.builds(
    Schedule,
    kind=kinds,
    timezone=st.sampled_from(ZONES),
    starts_at=st.none() | instants,
    ends_at=st.none() | instants,
    jitter=st.integers(0, DAY),
)


@st.composite
def http_targets(draw: st.DrawFn) -> HttpTarget:
    """HTTP targets with each kind of body."""
    kind = draw(st.sampled_from(BodyKind))
    body: Any = None
    if kind is BodyKind.JSON:
        body = draw(json_values)
    elif kind is BodyKind.TEXT:
        body = draw(texts)
    elif kind is BodyKind.BASE64:
        body = base64.b64encode(draw(st.binary(max_size=20))).decode()
    host = draw(st.from_regex(r"[a-z]{1,10}\.example", fullmatch=True))
    headers = draw(st.dictionaries(st.from_regex(r"[A-Za-z-]{1,12}", fullmatch=True), texts))
    return HttpTarget(
        url=f"https://{host}/{draw(st.from_regex(r'[a-z0-9/]{0,10}', fullmatch=True))}",
        method=draw(st.sampled_from(["GET", "POST", "PUT", "PURGE"])),
        headers=tuple(headers.items()),
        body_kind=kind,
        body=body,
        timeout=draw(st.integers(1, DAY)),
        redirects=draw(st.integers(0, 10)),
    )


targets: st.SearchStrategy[Target] = http_targets() | st.builds(LogTarget, text=texts)

code_tokens = st.from_regex(r"[1-5]xx|[1-5][0-9]{2}", fullmatch=True)
retry_policies = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    initial=st.integers(0, HOUR),
    factor=st.floats(1, 100),
    max=st.integers(0, DAY),
    jitter=st.floats(0, 1),
    on=st.lists(code_tokens | st.sampled_from(sorted(NETWORK_KINDS)), max_size=5).map(tuple),
)
misfires = st.builds(
    Misfire,
    policy=st.sampled_from(MisfirePolicy),
    grace=st.none() | st.integers(0, DAY),
    max=st.integers(1, 500),
)
specs = st.builds(
    JobSpec,
    schedule=schedules,
    target=targets,
    retry=retry_policies,
    misfire=misfires,
    overlap=st.sampled_from(Overlap),
    delivery=st.sampled_from(DeliveryMode),
    success=st.lists(code_tokens, max_size=4).map(CodeRule),
    description=texts,
    tags=st.lists(names, max_size=4, unique=True).map(tuple),
    metadata=st.dictionaries(texts, json_values, max_size=3),
)

_phases = st.none() | st.floats(0, 1e6)
attempts = st.builds(
    Attempt,
    number=st.integers(1, 1_000),
    started_at=instants,
    duration_ms=st.floats(0, 1e9),
    http_status=st.none() | st.integers(100, 599),
    error_kind=st.none() | st.sampled_from(ErrorKind),
    error=st.none() | texts,
    node=texts,
    timings=st.none()
    | st.builds(
        Timings,
        dns_ms=_phases,
        connect_ms=_phases,
        proxy_ms=_phases,
        tls_ms=_phases,
        first_byte_ms=_phases,
        total_ms=_phases,
    ),
    response=st.none() | st.builds(ResponseExcerpt, excerpt=texts, truncated=st.booleans()),
)

intervals = st.sampled_from(
    (100, SECOND, 7 * SECOND, 30 * SECOND, MINUTE, 15 * MINUTE, HOUR, DAY)
) | st.integers(100, DAY)
"""Intervals as jobs have them."""
