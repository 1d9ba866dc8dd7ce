"""New jobs in bulk: what the definitions of a batch have in common is checked and written once.

A batch is mostly one definition, repeated with other names, instants, URLs, bodies and metadata.
These are checked for each job. The rest is looked up by what it is as JSON: where it is the same,
it was checked already, and its text in the stored definition is known. What is not seen through
at once, and whatever is wrong with a job, goes the way of a single job, so that both say the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from tocsin.domain.codec import json_text, spec_to_json
from tocsin.domain.codes import CodeRule
from tocsin.domain.errors import InvalidInput
from tocsin.domain.instant import Millis, format_instant, parse_instant
from tocsin.domain.job import (
    BodyKind,
    DeliveryMode,
    HttpTarget,
    JobStatus,
    Json,
    Misfire,
    Overlap,
    TargetAuth,
    lane_of,
    make_http_target,
    make_job,
    make_spec,
)
from tocsin.domain.placeholder import JsonTemplate
from tocsin.domain.planning import make_timer
from tocsin.domain.quick import maker, quick
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.schedule import At, Schedule, once
from tocsin.services import lifecycle
from tocsin.services.definitions import (
    AT_GRACE,
    JobDefaults,
    read_definition,
    read_metadata,
    read_schedule,
)
from tocsin.services.frequency import require_seldom
from tocsin.services.ids import is_name
from tocsin.services.shapes import MAX_BODY, MAX_DEPTH, MAX_DESCRIPTION, MAX_URL
from tocsin.services.targets import Problems, check_json_body, url_problems
from tocsin.store.port import NewJob, make_new_job

MOST_KEPT: Final = 2_000
"""Different parts of each kind that are remembered; a batch with more starts over."""

LONGEST_KEPT: Final = 4_096
"""Bytes of JSON of a part that is remembered, so that memory stays bounded."""

LONGEST_INSTANT: Final = 40
"""The same in characters of an instant."""

_ACTIVE: Final = JobStatus.ACTIVE


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Fresh:
    """A new job, and what its answer says of its schedule."""

    new: NewJob
    fires: str
    """The first fire time as JSON."""
    words: str | None
    """The schedule in words, as JSON; ``None``: not made yet, and those of an instant alone."""

    @property
    def described(self) -> str:
        """The words as JSON, for who shows them."""
        if self.words is not None:
            return self.words
        kind = self.new.job.spec.schedule.kind
        assert isinstance(kind, At)  # noqa: S101  # tells the type
        return _once_in_words(kind.instant)


make_fresh = maker(Fresh)
"""From all of its fields, in their order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Policies:
    """Everything of a definition but name, description, schedule, target and metadata."""

    retry: RetryPolicy
    misfire: Misfire
    overlap: Overlap
    delivery: DeliveryMode
    success: CodeRule
    tags: tuple[str, ...]
    exact: bool
    text: str
    """From the end of the target to the beginning of the metadata."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """Everything of an HTTP target but its URL and its JSON body."""

    method: str
    headers: tuple[tuple[str, str], ...]
    body_kind: BodyKind
    body: Json
    timeout: Millis
    redirects: int
    auth: TargetAuth | None
    signing: str | None
    text: str
    """From the end of the URL to the JSON body, or to the end of the target."""


class _When(NamedTuple):
    """A schedule, and its first fire time."""

    schedule: Schedule
    fire_at: Millis
    text: str
    fires: str
    words: str | None
    """Both as those of ``Fresh``."""


class _Url(NamedTuple):
    lane: int
    text: str


class BulkReader:
    """Makes new jobs of definitions as people write them, at one instant."""

    def __init__(
        self,
        *,
        defaults: JobDefaults,
        now: Millis,
        namespace: str,
        new_id: Callable[[], str],
    ) -> None:
        self._defaults = defaults
        self._now = now
        self._namespace = namespace
        self._new_id = new_id
        self._policies: dict[bytes, _Policies] = {}
        self._frames: dict[tuple[bytes, bool], _Frame] = {}
        self._whens: dict[tuple[bytes, Millis | None], _When] = {}
        self._urls: dict[str, _Url] = {}

    def renew(self, now: Millis) -> None:
        """Go on at a later instant; first fire times are looked for anew."""
        self._now = now
        self._whens.clear()

    def read(self, data: object) -> Fresh:
        """A new job; raises ``InvalidInput`` with every problem found."""
        if type(data) is dict:
            try:
                known = self._known(data)
            except (TypeError, ValueError, RecursionError, InvalidInput):
                known = None
            if known is not None:
                return known
        definition = read_definition(data, defaults=self._defaults, now=self._now)
        new = lifecycle.created(
            definition, job_id=self._new_id(), namespace=self._namespace, now=self._now
        )
        if type(data) is dict:
            self._learn(data, new)
        assert new.timer is not None  # noqa: S101  # as each new job has
        words = json_text(new.job.spec.schedule.describe())
        return Fresh(new=new, fires=_instant(new.timer.fire_at), words=words)

    def _known(self, data: dict[str, Any]) -> Fresh | None:
        """The new job where all of it is known or plain; ``None`` where it has to be looked at."""
        rest, name, description, schedule, target, metadata = _split(data)
        if type(schedule) is not dict or type(target) is not dict:
            return None
        policies = self._policies.get(orjson.dumps(rest))
        if policies is None:
            return None
        frame, url, body = _split_target(target)
        known = self._frames.get((orjson.dumps(frame), body is not None))
        if known is None or type(url) is not str:
            return None
        if name is not None and not (type(name) is str and is_name(name)):
            return None
        if description is None:
            description = ""
        elif type(description) is not str or len(description) > MAX_DESCRIPTION:
            return None
        place = self._urls.get(url) or self._learn_url(url)
        when = self._when(schedule, policies.misfire.grace)
        if place is None or when is None:
            return None
        problems: Problems = []
        if body is None:
            body, target_text = known.body, known.text
        else:
            written = _written(body, problems)
            if written is None:
                return None
            if b"{{" in written:
                JsonTemplate.parse(body)
            target_text = known.text + written.decode()
        if metadata is None:
            metadata, metadata_text = {}, "{}"
        elif type(metadata) is dict:
            metadata = read_metadata(metadata, problems)
            metadata_text = orjson.dumps(metadata).decode()
        else:
            return None
        if problems:
            return None
        described = '""' if not description else orjson.dumps(description).decode()
        job_id, now, fire_at, schedule = self._new_id(), self._now, when.fire_at, when.schedule
        # By position: to name the fields of five objects takes longer than to make them.
        new = make_new_job(
            make_job(
                job_id,
                self._namespace,
                name or job_id,
                make_spec(
                    schedule,
                    make_http_target(
                        url,
                        known.method,
                        known.headers,
                        known.body_kind,
                        body,
                        known.timeout,
                        known.redirects,
                        known.auth,
                        known.signing,
                    ),
                    policies.retry,
                    policies.misfire,
                    policies.overlap,
                    policies.delivery,
                    policies.success,
                    description,
                    policies.tags,
                    metadata,
                ),
                _ACTIVE,
                1,
                now,
                now,
            ),
            make_timer(
                job_id,
                fire_at,
                schedule.due(fire_at, job_id) if schedule.jitter else fire_at,
                place.lane,
                policies.exact,
            ),
            f'{{"schedule":{when.text},"description":{described},"target":{{"url":{place.text}'
            f"{target_text}}}{policies.text}{metadata_text}}}",
        )
        return make_fresh(new, when.fires, when.words)

    # --- parts

    def _when(self, data: dict[str, Any], grace: Millis | None) -> _When | None:
        at = data.get("at")
        if len(data) == 1 and type(at) is str and len(at) <= LONGEST_INSTANT:
            once_at = _once(at)
            # Whether it has passed changes while it is remembered.
            past = once_at.fire_at < self._now - (AT_GRACE if grace is None else grace)
            return None if past else once_at
        key = (orjson.dumps(data), grace)
        known = self._whens.get(key)
        if known is None:
            schedule = read_schedule(
                data,
                now=self._now,
                at_grace=AT_GRACE if grace is None else grace,
                previous=None,
            )
            require_seldom(schedule, self._defaults.min_interval)
            fire_at = lifecycle.first_fire(schedule, grace, now=self._now)
            if fire_at is None:
                return None
            text, words = _shown(schedule)
            known = _When(schedule, fire_at, text, _instant(fire_at), words)
            _keep(self._whens, key, known, len(key[0]))
        return known

    def _learn_url(self, url: str) -> _Url | None:
        if not 0 < len(url) <= MAX_URL or url_problems(url, self._defaults.why_never):
            return None
        made = _Url(lane=lane_of(HttpTarget(url=url)), text=orjson.dumps(url).decode())
        _keep(self._urls, url, made, len(url))
        return made

    def _learn(self, data: dict[str, Any], new: NewJob) -> None:
        """Remember what a job that was looked at has in common with others, perhaps."""
        spec = new.job.spec
        rest, *_, target, _ = _split(data)
        if not isinstance(spec.target, HttpTarget):
            return
        frame, _, body = _split_target(target)
        shown = spec_to_json(spec)
        shown_target, own = shown["target"], (rest, frame)
        del shown_target["url"]
        frame_text = f",{json_text(shown_target)[1:-1]}"
        if body is not None:
            del shown_target["body"]
            frame_text = f',{json_text(shown_target)[1:-1]},"body":'
        for name in ("schedule", "description", "target", "metadata"):
            del shown[name]
        policies_text = f',{json_text(shown)[1:-1]},"metadata":'
        try:
            policies_key, frame_key = (orjson.dumps(one) for one in own)
        except TypeError:
            return
        policies = _Policies(
            retry=spec.retry,
            misfire=spec.misfire,
            overlap=spec.overlap,
            delivery=spec.delivery,
            success=spec.success,
            tags=spec.tags,
            exact=spec.exact,
            text=policies_text,
        )
        _keep(self._policies, policies_key, policies, len(policies_key))
        made = _Frame(
            method=spec.target.method,
            headers=spec.target.headers,
            body_kind=spec.target.body_kind,
            body=spec.target.body if body is None else None,
            timeout=spec.target.timeout,
            redirects=spec.target.redirects,
            auth=spec.target.auth,
            signing=spec.target.signing,
            text=frame_text,
        )
        _keep(self._frames, (frame_key, body is not None), made, len(frame_key))


def _split(data: Mapping[str, Any]) -> tuple[dict[str, Any], Any, Any, Any, Any, Any]:
    """What jobs may share, then name, description, schedule, target and metadata."""
    rest = dict(data)
    take = rest.pop
    return (
        rest,
        take("name", None),
        take("description", None),
        take("schedule", None),
        take("target", None),
        take("metadata", None),
    )


def _split_target(target: Mapping[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """What targets may share, then URL and JSON body."""
    frame = dict(target)
    return frame, frame.pop("url", None), frame.pop("body", None)


def _written(body: Json, problems: Problems) -> bytes | None:
    """A JSON body, held to its bounds."""
    written = orjson.dumps(body)
    # Each level has a bracket of its own, so with few of them there is nothing to look through.
    if len(written) > MAX_BODY or written.count(b"{") + written.count(b"[") > MAX_DEPTH:
        return check_json_body(body, "target.body", problems)
    return written


# For all batches, since each has its instants, and many have the same.
@lru_cache(maxsize=8_192)
def _once(text: str) -> _When:
    """A schedule that is nothing but an instant, as it was written."""
    instant = parse_instant(text)
    fires = _instant(instant)
    return _When(
        Schedule(kind=At(instant=instant)), instant, f'{{"at":{fires},{_PLAIN}', fires, None
    )


@lru_cache(maxsize=8_192)
def _once_in_words(instant: Millis) -> str:
    return f'"{once(instant, "UTC")}"'


def _instant(instant: Millis) -> str:
    """An instant as JSON."""
    return f'"{format_instant(instant)}"'


_PLAIN: Final = json_text(Schedule(kind=At(instant=0)).to_json()).partition(",")[2]
"""What follows the instant of such a schedule."""


@lru_cache(maxsize=4_096)
def _shown(schedule: Schedule) -> tuple[str, str]:
    """A schedule as it is stored, and in words, as JSON."""
    return json_text(schedule.to_json()), json_text(schedule.describe())


def _keep(known: dict[Any, Any], key: Any, value: object, size: int) -> None:
    if size > LONGEST_KEPT:
        return
    if len(known) >= MOST_KEPT:
        known.clear()
    known[key] = value
