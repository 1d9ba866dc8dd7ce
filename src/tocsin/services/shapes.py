"""What people may send, field by field: names, types and bounds.

Each shape is both the check (pydantic runs it over parsed JSON, without copying more than it must)
and the source of the OpenAPI document. Rules that a type cannot say live in ``definitions`` and
``targets``. A field that is null counts as left out.
"""

from typing import Annotated, Any, Final, Literal, Required, TypeAlias

from pydantic import ConfigDict, Field, SkipValidation, TypeAdapter, WithJsonSchema, with_config
from typing_extensions import TypedDict

MAX_BODY: Final = 262_144
"""Bytes of a target's body, or of the body that a trigger brings along: 256 KiB."""

MAX_DEPTH: Final = 64
"""How deep the JSON of a body may be nested."""

MAX_METADATA: Final = 16_384
"""Bytes of a job's metadata as JSON: 16 KiB."""

MAX_METADATA_DEPTH: Final = 16

MAX_URL: Final = 8_192
MAX_DESCRIPTION: Final = 2_000
"""Characters."""

NAME_PATTERN: Final = "^[a-z0-9][a-z0-9._-]{0,99}$"
# Printable, no comma (lists of tags are written with commas), no space at either end.
TAG_PATTERN: Final = r"^[^\x00-\x20\x7f,](?:[^\x00-\x1f\x7f,]*[^\x00-\x20\x7f,])?$"
SECRET_PATTERN: Final = "^[A-Za-z][A-Za-z0-9_-]{0,99}$"  # noqa: S105  # of a name
METHOD_PATTERN: Final = "^[A-Za-z][A-Za-z-]{0,19}$"

_DURATION_SCHEMA: Final = {
    "anyOf": [{"type": "string", "maxLength": 64}, {"type": "number", "minimum": 0}],
    "description": "`30s`, `1h30m`, `500ms`, `PT30S`, or a number of seconds.",
}
_INSTANT_SCHEMA: Final = {"type": "string", "format": "date-time", "maxLength": 64}

Duration: TypeAlias = Annotated[
    SkipValidation[str | int | float | None],
    WithJsonSchema({"anyOf": [*_DURATION_SCHEMA["anyOf"], {"type": "null"}]}),
]

OverlapWord: TypeAlias = Literal["allow", "skip", "queue", "replace"]
DeliveryWord: TypeAlias = Literal["at_least_once", "at_most_once"]
MisfireWord: TypeAlias = Literal["latest", "all", "skip"]
RuleList: TypeAlias = Annotated[
    list[Annotated[str, Field(min_length=3, max_length=20)]], Field(max_length=50)
]

_STRICT: Final = ConfigDict(extra="forbid", strict=True)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _schedule_variant(word: str, kind: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": text,
        "required": [word],
        "additionalProperties": False,
        "properties": kind
        | {
            "timezone": _nullable({"type": "string", "maxLength": 64})
            | {"description": "An IANA name such as `Europe/Berlin`; `UTC` where none is given."},
            "starts_at": _nullable(_INSTANT_SCHEMA) | {"description": "No fire before; included."},
            "ends_at": _nullable(_INSTANT_SCHEMA) | {"description": "No fire after; included."},
            "jitter": _nullable(_DURATION_SCHEMA)
            | {"description": "Each fire is delayed by up to so much; up to 24 hours."},
            "description": _nullable({"type": "string"})
            | {"description": "Part of answers; ignored in requests."},
        },
    }


SCHEDULE_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "ScheduleIn": {
        "description": "When the job fires: one of `cron`, `every` and `at`.",
        "oneOf": [
            {"$ref": f"#/components/schemas/{name}"} for name in ("CronIn", "EveryIn", "AtIn")
        ],
    },
    "CronIn": _schedule_variant(
        "cron",
        {
            "cron": {
                "type": "string",
                "maxLength": 1_000,
                "description": "5 fields, 6 with seconds first, or a macro such as `@hourly`.",
                "examples": ["0 2 * * *"],
            }
        },
        "Fires when the local time matches.",
    ),
    "EveryIn": _schedule_variant(
        "every",
        {
            "every": _DURATION_SCHEMA | {"examples": ["15m"]},
            "anchor": _nullable(_INSTANT_SCHEMA)
            | {
                "description": "What the interval is counted from; by default the creation, "
                "kept when the job is edited."
            },
        },
        "Fires at a fixed interval.",
    ),
    "AtIn": _schedule_variant("at", {"at": _INSTANT_SCHEMA}, "Fires once."),
}
"""Schedules are read by ``domain.schedule``, so their shapes are described by hand."""

ScheduleIn: TypeAlias = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "title": "ScheduleIn"})
]


@with_config(_STRICT)
class AuthIn(TypedDict, total=False):
    """What the `Authorization` header is made of: `username` and `password`, or `token`.

    Password and token are put together from secrets: `{{ secret.NAME }}`.
    """

    type: Required[Literal["basic", "bearer"]]
    username: Annotated[str | None, Field(max_length=1_000)]
    password: Annotated[str | None, Field(max_length=8_192)]
    token: Annotated[str | None, Field(max_length=8_192)]


@with_config(_STRICT)
class SigningIn(TypedDict):
    """What the call is signed with."""

    secret: Annotated[
        str,
        Field(
            pattern=SECRET_PATTERN,
            description="Name of a secret whose value is a signing key (`whsec_…`).",
        ),
    ]


@with_config(_STRICT)
class TargetIn(TypedDict, total=False):
    """What a fire does: an HTTP request (`url`), or a line in the log (`log`).

    URL, header values and the strings of the body may hold the placeholders `{{ fire_time }}`,
    `{{ fire_time_ms }}`, `{{ execution_id }}`, `{{ job_id }}`, `{{ job_name }}`,
    `{{ attempt }}` and `{{ secret.NAME }}`; `{{{{` writes `{{`.
    """

    url: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_URL,
            description="http or https, without credentials and fragment.",
            examples=["https://example.com/hook"],
        ),
    ]
    method: Annotated[str | None, Field(pattern=METHOD_PATTERN, description="By default POST.")]
    headers: Annotated[
        dict[str, Annotated[str, Field(max_length=8_192)]] | None,
        Field(
            max_length=50,
            description="Names that Tocsin sets itself (Host, Content-Length, webhook-*, ...) "
            "are refused.",
        ),
    ]
    body: Annotated[
        Any,
        Field(description="Any JSON value, sent as JSON: up to 256 KiB, 64 levels. null: no body."),
    ]
    body_text: Annotated[
        str | None, Field(max_length=MAX_BODY, description="Text, sent as it is (UTF-8).")
    ]
    body_base64: Annotated[
        str | None,
        Field(max_length=MAX_BODY // 3 * 4 + 4, description="Bytes as base64, sent decoded."),
    ]
    timeout: Annotated[Duration, Field(description="For one attempt as a whole; 1 ms to 24 h.")]
    redirects: Annotated[
        int | None, Field(ge=0, le=10, description="How many are followed; by default 0.")
    ]
    auth: Annotated[
        AuthIn | None, Field(description="Basic or bearer credentials; by default none.")
    ]
    signing: Annotated[
        SigningIn | None,
        Field(description="By default calls are signed with the key of the namespace."),
    ]
    log: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=10_000,
            description="Write this line (placeholders too), call nothing.",
        ),
    ]


@with_config(_STRICT)
class RetryIn(TypedDict, total=False):
    """When a failed attempt is tried again: exponential backoff."""

    max_attempts: Annotated[int | None, Field(ge=1, le=100, description="The first included.")]
    initial: Annotated[Duration, Field(description="Wait before the first retry; up to 24 h.")]
    factor: Annotated[
        float | None, Field(ge=1, le=100, description="Each wait is so many times the last.")
    ]
    max: Annotated[Duration, Field(description="The longest wait; up to 7 days.")]
    jitter: Annotated[
        float | None,
        Field(ge=0, le=1, description="How far a wait is spread: 0.1 is up to 10 % either way."),
    ]
    on: Annotated[
        RuleList | None,
        Field(
            description="What is tried again: `connection`, `dns`, `tls`, `timeout`, `protocol`, "
            "`too_large`, `blocked`, and codes as `5xx`, `429`, `500-504`."
        ),
    ]


@with_config(_STRICT)
class MisfireIn(TypedDict, total=False):
    """What becomes of fire times that were noticed too late."""

    policy: MisfireWord | None
    grace: Annotated[
        Duration,
        Field(
            description="Later than this is a misfire; up to 7 days. By default one interval, "
            "bounded to 5 s to 1 min."
        ),
    ]
    max: Annotated[
        int | None, Field(ge=1, le=500, description="With `all`: how many run, the newest.")
    ]


@with_config(_STRICT)
class JobIn(TypedDict, total=False):
    """The definition of a job."""

    name: Annotated[
        str | None,
        Field(
            pattern=NAME_PATTERN,
            max_length=100,
            description="Unique, and not shaped like a UUID; by default the job's id.",
            examples=["nightly-report"],
        ),
    ]
    description: Annotated[str | None, Field(max_length=MAX_DESCRIPTION)]
    schedule: Required[ScheduleIn]
    target: Required[TargetIn]
    retry: RetryIn | None
    misfire: MisfireIn | None
    overlap: OverlapWord | None
    delivery: DeliveryWord | None
    success: Annotated[
        RuleList | None,
        Field(
            min_length=1,
            description="Which status codes are a success: `2xx`, `404`, `200-204`.",
        ),
    ]
    tags: Annotated[
        list[Annotated[str, Field(pattern=TAG_PATTERN, max_length=50)]] | None,
        Field(max_length=20),
    ]
    metadata: Annotated[
        dict[str, Any] | None,
        Field(description="Anything else, for your own use: up to 16 KiB of JSON, 16 levels."),
    ]


class JobPatch(JobIn, total=False):
    """A part of a definition; what is left out stays as it is, null sets the default."""

    schedule: ScheduleIn | None  # type: ignore[misc]  # what a job needs, a patch does not
    target: TargetIn | None  # type: ignore[misc]


@with_config(_STRICT)
class TriggerIn(TypedDict, total=False):
    """What a trigger may bring along."""

    body: Annotated[
        Any,
        Field(
            description="Replaces the target's body for this execution; sent as it is, without "
            "placeholders."
        ),
    ]


@with_config(_STRICT)
class PreviewIn(TypedDict, total=False):
    """A schedule to look at."""

    schedule: Required[ScheduleIn]
    count: Annotated[int | None, Field(ge=1, le=100, description="By default 10.")]
    after: Annotated[
        SkipValidation[str | None],
        WithJsonSchema(_nullable(_INSTANT_SCHEMA)),
        Field(description="Look from this instant on; by default now."),
    ]


@with_config(_STRICT)
class SecretIn(TypedDict, total=False):
    """The value of a secret, which no answer will ever hold."""

    # What is shorter could not be told from other text, and so not be masked in an excerpt.
    value: Required[Annotated[str, Field(min_length=4, max_length=65_536)]]
    overlap: Annotated[
        Duration,
        Field(
            description="How long the value before this one goes on signing, where it is a "
            "signing key; up to 30 days, by default 0."
        ),
    ]


@with_config(_STRICT)
class RotationIn(TypedDict, total=False):
    """How a signing key is replaced."""

    overlap: Annotated[
        Duration,
        Field(
            description="How long the key before this one goes on signing; up to 30 days, by "
            "default 24 h."
        ),
    ]


@with_config(_STRICT)
class BatchIn(TypedDict):
    """Jobs to create, all or none."""

    jobs: list[JobIn]


JOB: Final[TypeAdapter[JobIn]] = TypeAdapter(JobIn)
TRIGGER: Final[TypeAdapter[TriggerIn]] = TypeAdapter(TriggerIn)
PREVIEW: Final[TypeAdapter[PreviewIn]] = TypeAdapter(PreviewIn)
SECRET: Final[TypeAdapter[SecretIn]] = TypeAdapter(SecretIn)
ROTATION: Final[TypeAdapter[RotationIn]] = TypeAdapter(RotationIn)

READ_ONLY: Final = frozenset(
    {"id", "status", "version", "created_at", "updated_at", "next_fire_at", "last_execution"}
)
"""Fields of a job that answers hold and requests must not."""

FIELDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    (): tuple(JobIn.__annotations__),
    ("target",): tuple(TargetIn.__annotations__),
    ("target", "auth"): tuple(AuthIn.__annotations__),
    ("target", "signing"): tuple(SigningIn.__annotations__),
    ("retry",): tuple(RetryIn.__annotations__),
    ("misfire",): tuple(MisfireIn.__annotations__),
}
"""The fields that are known at each place of a job."""

STANDING_IN: Final[dict[tuple[str, ...], object]] = {
    ("schedule",): {"every": "1d"},
    ("target",): {"log": "-"},
    ("retry", "on", "*"): "5xx",
    ("success", "*"): "2xx",
    ("tags", "*"): "-",
}
"""What is sound in the place of what a job cannot do without, while the rest of it is checked."""

TRIGGER_FIELDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    (): tuple(TriggerIn.__annotations__),
}
PREVIEW_FIELDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    (): tuple(PreviewIn.__annotations__),
}
SECRET_FIELDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    (): tuple(SecretIn.__annotations__),
}
ROTATION_FIELDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    (): tuple(RotationIn.__annotations__),
}
