"""Definitions of jobs: from what people send to what the domain holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from unicodedata import is_normalized

import orjson

from tocsin.domain.codes import CodeRule
from tocsin.domain.errors import FieldProblem, InvalidInput
from tocsin.domain.instant import DAY, MINUTE, Millis, parse_instant
from tocsin.domain.job import (
    DeliveryMode,
    JobSpec,
    Json,
    Misfire,
    MisfirePolicy,
    Overlap,
)
from tocsin.domain.retry import NETWORK_KINDS, RetryPolicy
from tocsin.domain.schedule import At, Schedule, parse_schedule
from tocsin.services.checking import beside, check_most
from tocsin.services.durations import read_duration
from tocsin.services.frequency import SHORTEST, require_seldom
from tocsin.services.ids import looks_like_uuid
from tocsin.services.shapes import (
    FIELDS,
    JOB,
    MAX_METADATA,
    MAX_METADATA_DEPTH,
    READ_ONLY,
    STANDING_IN,
    MisfireIn,
    RetryIn,
)
from tocsin.services.targets import Problems, WhyNever, depth_of, read_target

AT_GRACE: Millis = MINUTE
"""How far in the past a new ``at`` may lie where the job sets no misfire grace of its own."""

MAX_GRACE: Millis = 7 * DAY
MAX_RETRY_INITIAL: Millis = DAY
MAX_RETRY_DELAY: Millis = 7 * DAY

_OVERLAPS = {word.value: word for word in Overlap}
_DELIVERIES = {word.value: word for word in DeliveryMode}
_NO_METADATA: Mapping[str, Json] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class JobDefaults:
    """What a job has where its owner says nothing, and where none may call."""

    timeout: Millis = 30_000
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    misfire: Misfire = field(default_factory=Misfire)
    success: CodeRule = field(default_factory=lambda: CodeRule(("2xx",)))
    min_interval: Millis = SHORTEST
    """How close two fires of a job may be."""
    why_never: WhyNever | None = None
    """Knows the places that the egress guard will never let be called; ``None``: there are none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """A checked definition; without a ``name`` the job keeps the one it has, or gets its id."""

    name: str | None
    spec: JobSpec


def read_definition(
    data: object,
    *,
    defaults: JobDefaults,
    now: Millis,
    previous: Schedule | None = None,
    own_id: str | None = None,
) -> Definition:
    """Check a definition as people write it and fill in the defaults.

    ``previous`` is the schedule that is edited: it lends its anchor, and an ``at`` of its own
    that has passed is not refused. ``own_id`` is the one UUID that may be a name. Raises
    ``InvalidInput`` with every problem found.
    """
    if own_id is not None and isinstance(data, dict) and data.get("name") == own_id:
        data = {key: value for key, value in data.items() if key != "name"}
        name: str | None = own_id
        job, misshapen = check_most(JOB, data, FIELDS, READ_ONLY, standing_in=STANDING_IN)
    else:
        job, misshapen = check_most(JOB, data, FIELDS, READ_ONLY, standing_in=STANDING_IN)
        name = job.get("name")
    problems: Problems = []
    if name is not None and name != own_id and looks_like_uuid(name):
        problems.append(
            FieldProblem(
                field="name",
                message="is shaped like a UUID, which is how ids are told from names",
                code="pattern",
            )
        )
    misfire = _read_misfire(job.get("misfire"), defaults.misfire, problems)
    grace = misfire.grace
    schedule: Schedule | None = None
    try:
        schedule = read_schedule(
            job["schedule"],
            now=now,
            at_grace=AT_GRACE if grace is None else grace,
            previous=previous,
        )
        require_seldom(schedule, defaults.min_interval, previous)
    except InvalidInput as error:
        problems.extend(error.under("schedule").problems)
    target = read_target(
        job["target"], problems, timeout=defaults.timeout, why_never=defaults.why_never
    )
    retry = _read_retry(job.get("retry"), defaults.retry, problems)
    success = _read_success(job.get("success"), defaults.success, problems)
    tags = _read_tags(job.get("tags"), problems)
    metadata = read_metadata(job.get("metadata"), problems)
    if misshapen:
        raise InvalidInput([*misshapen, *beside(misshapen, problems)])
    if problems or schedule is None or target is None:
        raise InvalidInput(problems)
    overlap, delivery = job.get("overlap"), job.get("delivery")
    return Definition(
        name=name,
        spec=JobSpec(
            schedule=schedule,
            target=target,
            retry=retry,
            misfire=misfire,
            overlap=Overlap.ALLOW if overlap is None else _OVERLAPS[overlap],
            delivery=(DeliveryMode.AT_LEAST_ONCE if delivery is None else _DELIVERIES[delivery]),
            success=success,
            description=job.get("description") or "",
            tags=tags,
            metadata=metadata,
        ),
    )


def merge_patch(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A definition as JSON with a JSON merge patch (RFC 7396) applied.

    Alternatives exclude each other: a patch that names one (a kind of schedule, ``url`` or
    ``log``, a kind of body) drops the others, so that nobody has to null them first.
    """
    merged = _merge(old, patch)
    for place, alternatives in _ALTERNATIVES:
        part, change = merged.get(place), patch.get(place)
        if not (isinstance(part, dict) and isinstance(change, Mapping)):
            continue
        for group in alternatives:
            named = [name for name in group if change.get(name) is not None]
            if named:
                for name, dependents in group.items():
                    if name not in named:
                        for gone in (name, *dependents):
                            if change.get(gone) is None:
                                part.pop(gone, None)
    return merged


_HTTP_FIELDS = (
    *("method", "headers", "body", "body_text", "body_base64"),
    *("timeout", "redirects", "auth", "signing"),
)
_ALTERNATIVES: tuple[tuple[str, tuple[dict[str, tuple[str, ...]], ...]], ...] = (
    ("schedule", ({"cron": (), "every": ("anchor",), "at": ()},)),
    (
        "target",
        (
            {"url": _HTTP_FIELDS, "log": ()},
            {"body": (), "body_text": (), "body_base64": ()},
        ),
    ),
)
"""Fields of which at most one is there, each with the fields that go with it alone."""


def _merge(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = _merge(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


# A cron expression without bounds means the same at any time, and thousands of jobs share one.
_ANY_TIME: Millis = 1_767_225_600_000  # 2026-01-01T00:00:00Z


def read_schedule(
    data: Mapping[str, object], *, now: Millis, at_grace: Millis, previous: Schedule | None
) -> Schedule:
    """The schedule of a definition; raises ``InvalidInput`` as ``parse_schedule`` does."""
    cron = data.get("cron")
    if isinstance(cron, str) and data.keys() <= _CRON_FIELDS:
        zone, jitter = data.get("timezone"), data.get("jitter")
        unbounded = data.get("starts_at") is None and data.get("ends_at") is None
        if unbounded and isinstance(zone, str | None) and isinstance(jitter, str | None):
            return _cron_schedule(cron, zone, jitter)
    at = data.get("at")
    if isinstance(at, str) and len(data) == 1:
        plain = _plain_at(at, now - at_grace)
        if plain is not None:
            return plain
    if previous is None and _TEXTS.issuperset(map(type, data.values())):
        return _schedule_at(tuple(data.items()), now, at_grace)
    return parse_schedule(data, now=now, at_grace=at_grace, previous=previous)


_CRON_FIELDS = frozenset({"cron", "timezone", "starts_at", "ends_at", "jitter"})


@lru_cache(maxsize=4_096)
def _cron_schedule(cron: str, zone: str | None, jitter: str | None) -> Schedule:
    return parse_schedule({"cron": cron, "timezone": zone, "jitter": jitter}, now=_ANY_TIME)


def _plain_at(text: str, earliest: Millis) -> Schedule | None:
    """The schedule of nothing but an instant; ``None`` where ``parse_schedule`` has to say why.

    Large batches are made of these, each with another instant, so that no cache helps.
    """
    try:
        instant = parse_instant(text)
    except ValueError:
        return None
    return Schedule(kind=At(instant=instant)) if instant >= earliest else None


# A batch has one `now`, and many of its jobs the same schedule.
@lru_cache(maxsize=2_048)
def _schedule_at(items: tuple[tuple[str, object], ...], now: Millis, at_grace: Millis) -> Schedule:
    return parse_schedule(dict(items), now=now, at_grace=at_grace)


# Values that are equal only if they are the same: 1 == True, but only one of them is a duration.
_TEXTS = frozenset({str, type(None)})


def _read_misfire(data: MisfireIn | None, default: Misfire, problems: Problems) -> Misfire:
    if not data:
        return default
    grace = data.get("grace")
    limit = default.grace
    if grace is not None:
        limit = read_duration(grace, "misfire.grace", 0, MAX_GRACE, problems)
    policy, most = data.get("policy"), data.get("max")
    return Misfire(
        policy=default.policy if policy is None else MisfirePolicy(policy),
        grace=limit,
        max=default.max if most is None else most,
    )


def _read_retry(data: RetryIn | None, default: RetryPolicy, problems: Problems) -> RetryPolicy:
    if not data:
        return default
    initial, longest, on = data.get("initial"), data.get("max"), data.get("on")
    wait: Millis | None = default.initial
    if initial is not None:
        wait = read_duration(initial, "retry.initial", 0, MAX_RETRY_INITIAL, problems)
    most: Millis | None = default.max
    if longest is not None:
        most = read_duration(longest, "retry.max", 0, MAX_RETRY_DELAY, problems)
    attempts, factor, jitter = data.get("max_attempts"), data.get("factor"), data.get("jitter")
    try:
        return _retry_policy(
            (
                default.max_attempts if attempts is None else attempts,
                default.initial if wait is None else wait,
                default.factor if factor is None else factor,
                default.max if most is None else most,
                default.jitter if jitter is None else jitter,
                default.on if on is None else tuple(on),
            )
        )
    except InvalidInput as error:
        problems.extend(error.problems)
        return default


# Building the set of codes costs more than the rest of a job, and most jobs have one of few.
@lru_cache(maxsize=512)
def _retry_policy(
    values: tuple[int, Millis, float, Millis, float, tuple[str, ...]],
) -> RetryPolicy:
    attempts, initial, factor, longest, jitter, on = values
    _check_rules("retry.on", on, also=NETWORK_KINDS)
    return RetryPolicy(
        max_attempts=attempts,
        initial=initial,
        factor=float(factor),
        max=longest,
        jitter=float(jitter),
        on=on,
    )


@lru_cache(maxsize=512)
def _code_rule(tokens: tuple[str, ...]) -> CodeRule:
    _check_rules("success", tokens, also=frozenset())
    return CodeRule(tokens)


def _check_rules(place: str, tokens: tuple[str, ...], *, also: frozenset[str]) -> None:
    problems: Problems = []
    for index, token in enumerate(tokens):
        if token in also:
            continue
        try:
            CodeRule((token,))
        except ValueError as error:
            words = f", or one of {', '.join(sorted(also))}" if also else ""
            problems.append(
                FieldProblem(field=f"{place}.{index}", message=f"{error}{words}", code="not_one_of")
            )
    if problems:
        raise InvalidInput(problems)


def _read_success(data: Sequence[str] | None, default: CodeRule, problems: Problems) -> CodeRule:
    if data is None:
        return default
    try:
        return _code_rule(tuple(data))
    except InvalidInput as error:
        problems.extend(error.problems)
        return default


def _read_tags(tags: Sequence[str] | None, problems: Problems) -> tuple[str, ...]:
    if not tags:
        return ()
    for index, tag in enumerate(tags):
        # Unicode has more that cannot be seen than a pattern can say.
        if tag.isascii():
            continue
        if not tag.isprintable():
            problems.append(
                FieldProblem(
                    field=f"tags.{index}", message="holds an invisible character", code="pattern"
                )
            )
        elif not is_normalized("NFC", tag):
            # Two tags that look the same would be two, and keys are limited by tags.
            problems.append(
                FieldProblem(
                    field=f"tags.{index}",
                    message="is not in Unicode's normal form C; compose its accents",
                    code="pattern",
                )
            )
    return tuple(dict.fromkeys(tags))


def read_metadata(data: dict[str, Any] | None, problems: Problems) -> Mapping[str, Json]:
    """The metadata of a definition, held to its bounds."""
    if not data:
        return _NO_METADATA
    if depth_of(data, MAX_METADATA_DEPTH) > MAX_METADATA_DEPTH:
        problems.append(
            FieldProblem(
                field="metadata",
                message=f"is nested deeper than {MAX_METADATA_DEPTH} levels",
                code="too_deep",
            )
        )
    elif len(orjson.dumps(data)) > MAX_METADATA:
        problems.append(
            FieldProblem(
                field="metadata",
                message=f"is larger than {MAX_METADATA:,} bytes as JSON",
                code="too_long",
            )
        )
    return data
