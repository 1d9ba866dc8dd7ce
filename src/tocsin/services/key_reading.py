"""New keys as people ask for them: the rules that types cannot say."""

import unicodedata
from collections.abc import Callable

from tocsin.domain.access import Action, Grant, Role
from tocsin.domain.errors import FieldProblem, InvalidInput
from tocsin.domain.instant import DAY, SECOND, Millis, parse_instant
from tocsin.domain.key import ApiKey, secret_hash
from tocsin.services.checking import check
from tocsin.services.durations import read_duration
from tocsin.services.key_shapes import KEY, KEY_FIELDS, KEY_READ_ONLY, KeyIn
from tocsin.services.random_secrets import new_key_secret

MAX_LIFE: Millis = 3_650 * DAY


def read_key(
    data: object, now: Millis, *, new_id: Callable[[], str], namespace: str, maker: str
) -> tuple[ApiKey, str]:
    """The key that somebody asks for, and its secret; raises ``InvalidInput``.

    ``namespace`` is where it holds unless it says otherwise; ``maker`` the name of who asks.
    """
    given = check(KEY, data, KEY_FIELDS, KEY_READ_ONLY)
    problems: list[FieldProblem] = []
    name = given["name"]
    check_name(name, problems)
    expires_at = _read_expiry(given, now, problems)
    tags, actions = given.get("tags"), given.get("actions")
    for index, tag in enumerate(tags or ()):
        if not tag.isprintable() or not unicodedata.is_normalized("NFC", tag):
            problems.append(
                FieldProblem(
                    field=f"tags.{index}",
                    message="is no tag that a job can have",
                    code="pattern",
                )
            )
    grant = Grant(
        role=Role(given["role"]),
        namespace=given.get("namespace") or namespace,
        tags=None if tags is None else frozenset(tags),
        actions=None if actions is None else frozenset(map(Action, actions)),
    )
    beyond = sorted((grant.actions or frozenset()) - grant.allowed)
    if beyond:
        problems.append(
            FieldProblem(
                field="actions",
                message=f"{', '.join(beyond)} is more than the role {grant.role} allows",
                code="conflict",
            )
        )
    if problems:
        raise InvalidInput(problems)
    secret, prefix = new_key_secret()
    key = ApiKey(
        id=new_id(),
        name=name,
        prefix=prefix,
        hash=secret_hash(secret),
        grant=grant,
        created_at=now,
        created_by=maker,
        rate_limit=given.get("rate_limit"),
        expires_at=expires_at,
    )
    return key, secret


def check_name(name: str, problems: list[FieldProblem]) -> None:
    """Add what is wrong with the name of a key."""
    # Invisible characters and those that turn the direction of text make one name look like
    # another, in lists of keys and in the audit log.
    if (
        not name.isprintable()
        or name != name.strip()
        or not unicodedata.is_normalized("NFC", name)
        or not 1 <= len(name) <= 100
    ):
        problems.append(
            FieldProblem(
                field="name",
                message="is not 1 to 100 visible characters without spaces at the ends (Unicode "
                "as NFC)",
                code="pattern",
            )
        )


def _read_expiry(given: KeyIn, now: Millis, problems: list[FieldProblem]) -> Millis | None:
    life, text = given.get("expires_in"), given.get("expires_at")
    if life is not None and text is not None:
        problems.append(
            FieldProblem(field="expires_in", message="does not go with expires_at", code="conflict")
        )
        return None
    if life is not None:
        found = read_duration(life, "expires_in", SECOND, MAX_LIFE, problems)
        return None if found is None else now + found
    if text is None:
        return None
    try:
        at = parse_instant(str(text))
    except ValueError as error:
        problems.append(FieldProblem(field="expires_at", message=str(error)))
        return None
    if not now < at <= now + MAX_LIFE:
        problems.append(
            FieldProblem(
                field="expires_at", message="is not within the next 3650 days", code="out_of_range"
            )
        )
    return at
