"""What a user owns: a job, that is a target, a schedule and its policies."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import urlsplit

from tocsin.domain.codes import CodeRule
from tocsin.domain.instant import Millis
from tocsin.domain.quick import maker, quick
from tocsin.domain.retry import RetryPolicy
from tocsin.domain.schedule import Schedule

LANES = 1024
"""How many lanes targets are spread over; a lane is the unit that a hanging target holds back."""

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class JobStatus(StrEnum):
    """Where a job is in its life; only an active one has fire times."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DELETED = "deleted"


class MisfirePolicy(StrEnum):
    """What becomes of fire times that were noticed later than their grace."""

    LATEST = "latest"
    ALL = "all"
    SKIP = "skip"


class Overlap(StrEnum):
    """What becomes of a fire time that arrives while an execution of its job is live."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


class DeliveryMode(StrEnum):
    """Whether an attempt whose end is unknown is tried again."""

    AT_LEAST_ONCE = "at_least_once"
    AT_MOST_ONCE = "at_most_once"


class BodyKind(StrEnum):
    """How the body of a target was written down."""

    NONE = "none"
    JSON = "json"
    TEXT = "text"
    BASE64 = "base64"


# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_ALLOW = Overlap.ALLOW
_AT_MOST_ONCE = DeliveryMode.AT_MOST_ONCE


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class BasicAuth:
    """A name and a password (RFC 7617); both may hold placeholders."""

    username: str
    password: str


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class BearerAuth:
    """A token (RFC 6750), which may hold placeholders."""

    token: str


TargetAuth: TypeAlias = BasicAuth | BearerAuth


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class HttpTarget:
    """The HTTP request that a fire makes; URL, header values and body may hold placeholders."""

    url: str
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    body_kind: BodyKind = BodyKind.NONE
    body: Json = None
    """The JSON value, the text, or the base64 text, as ``body_kind`` says."""
    timeout: Millis = 30_000
    """For one attempt as a whole."""
    redirects: int = 0
    """How many redirects are followed at most."""
    auth: TargetAuth | None = None
    """What the ``Authorization`` header is made of."""
    signing: str | None = None
    """The secret that calls are signed with; ``None``: the signing key of the namespace."""


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class LogTarget:
    """A line in the log, for reminders and tests."""

    text: str


Target: TypeAlias = HttpTarget | LogTarget


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Misfire:
    """The misfire policy; without a grace it is one interval, bounded to 5 s .. 1 min."""

    policy: MisfirePolicy = MisfirePolicy.LATEST
    grace: Millis | None = None
    max: int = 100
    """With ``all``: how many missed fire times run at most (1 .. 500), the newest of them."""


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class JobSpec:
    """The definition as its owner wrote it, with defaults filled in."""

    schedule: Schedule
    target: Target
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    misfire: Misfire = field(default_factory=Misfire)
    overlap: Overlap = Overlap.ALLOW
    delivery: DeliveryMode = DeliveryMode.AT_LEAST_ONCE
    success: CodeRule = field(default_factory=lambda: CodeRule(("2xx",)))
    description: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether a fire is claimed at its instant and into a free call slot, never ahead.

        What these jobs must know (is another execution live, did the node survive) is true only
        at the instant itself.
        """
        return self.overlap is not _ALLOW or self.delivery is _AT_MOST_ONCE

    @property
    def lane(self) -> int:
        """The lane of the target: a hash of its origin, 0 .. ``LANES`` - 1."""
        return lane_of(self.target)


@quick
@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as it is stored."""

    id: str
    namespace: str = "default"
    name: str
    spec: JobSpec
    status: JobStatus
    version: int
    """Grows by one with each change of the definition or of the status, but for the completion by
    the last fire: a claim leaves it as it is."""
    created_at: Millis
    updated_at: Millis


make_http_target = maker(HttpTarget)
make_spec = maker(JobSpec)
make_job = maker(Job)
"""Each from all of its fields, in their order: a batch makes thousands of them."""

_COMPLETED = JobStatus.COMPLETED


def completed(job: Job) -> Job:
    """The same job after its last fire."""
    # ``replace`` would take eight times as long, once for each job that fires once.
    return make_job(
        job.id,
        job.namespace,
        job.name,
        job.spec,
        _COMPLETED,
        job.version,
        job.created_at,
        job.updated_at,
    )


def lane_of(target: Target) -> int:
    """The lane of a target, the same on every node and in every process."""
    match target:
        case LogTarget():
            return 0
        case HttpTarget():
            return _lane_of_url(target.url)


@lru_cache(maxsize=8_192)  # Asked with each fire, and jobs share URLs.
def _lane_of_url(url: str) -> int:
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}".lower().encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(origin, digest_size=4).digest()
    # Lane 0 is that of the log, which cannot hang.
    return 1 + int.from_bytes(digest, "big") % (LANES - 1)
