"""What people may send about keys and sessions: names, types and bounds."""

from typing import Annotated, Final, Literal, Required

from pydantic import ConfigDict, Field, SkipValidation, TypeAdapter, WithJsonSchema, with_config
from typing_extensions import TypedDict

from tocsin.services.shapes import TAG_PATTERN, Duration

_STRICT: Final = ConfigDict(extra="forbid", strict=True)

NAMESPACE_PATTERN: Final = "^(\\*|[a-z0-9][a-z0-9._-]{0,62})$"
RATE_PATTERN: Final = "^(off|[1-9][0-9]{0,5}/(second|minute|hour))$"
MAX_SECRET: Final = 200

RoleWord = Literal["viewer", "operator", "editor", "admin"]
ActionWord = Literal[
    "read", "trigger", "pause", "resume", "retry", "cancel", "ping", "define", "admin"
]


@with_config(_STRICT)
class KeyIn(TypedDict, total=False):
    """A key to be made."""

    name: Required[
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=100,
                description="For people: who or what uses it.",
                examples=["ci"],
            ),
        ]
    ]
    role: Required[
        Annotated[
            RoleWord,
            Field(
                description="`viewer` reads; `operator` also triggers, pauses, resumes, retries, "
                "cancels and pings; `editor` also defines; `admin` also manages keys and reads "
                "the audit log."
            ),
        ]
    ]
    namespace: Annotated[
        str | None,
        Field(
            pattern=NAMESPACE_PATTERN,
            description="Where it holds; `*`: in all namespaces. By default that of the request.",
        ),
    ]
    tags: Annotated[
        list[Annotated[str, Field(pattern=TAG_PATTERN, max_length=50)]] | None,
        Field(max_length=20, description="Only jobs that carry one of these exist for it."),
    ]
    actions: Annotated[
        list[ActionWord] | None,
        Field(min_length=1, max_length=9, description="Only these of what the role allows."),
    ]
    rate_limit: Annotated[
        str | None,
        Field(
            pattern=RATE_PATTERN,
            description="Writes, as `100/minute`, or `off`; by default as that of the key that "
            "makes it, or as the server is set.",
        ),
    ]
    expires_in: Annotated[Duration, Field(description="How long it works; 1 s to 3650 d.")]
    expires_at: Annotated[
        SkipValidation[str | None],
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "format": "date-time", "maxLength": 64},
                    {"type": "null"},
                ]
            }
        ),
        Field(
            description="The same as an instant. Without either it works until revoked, or as "
            "long as the key that makes it."
        ),
    ]


@with_config(_STRICT)
class RotateIn(TypedDict, total=False):
    """How a key is given a new secret."""

    overlap: Annotated[
        Duration,
        Field(description="How long the old secret goes on working; up to 90d, by default 24h."),
    ]


@with_config(_STRICT)
class SignInIn(TypedDict):
    """What a browser signs in with."""

    key: Annotated[str, Field(min_length=1, max_length=MAX_SECRET)]


KEY: Final[TypeAdapter[KeyIn]] = TypeAdapter(KeyIn)
ROTATE: Final[TypeAdapter[RotateIn]] = TypeAdapter(RotateIn)
SIGN_IN: Final[TypeAdapter[SignInIn]] = TypeAdapter(SignInIn)

KEY_FIELDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {(): tuple(KeyIn.__annotations__)}
ROTATE_FIELDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {(): tuple(RotateIn.__annotations__)}
SIGN_IN_FIELDS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    (): tuple(SignInIn.__annotations__)
}
KEY_READ_ONLY: Final = frozenset(
    {"id", "prefix", "status", "created_at", "created_by", "last_used_at", "revoked_at", "key"}
)
