"""Conditions (``ETag``, ``If-Match``, ``If-None-Match``, over versions of jobs) and preferences."""

import re

from starlette.requests import Request

from tocsin.domain.errors import InvalidInput
from tocsin.domain.job import Job
from tocsin.services.jobs import Match

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"|(\d{1,18})')
_VERSION = re.compile(r"[1-9]\d{0,17}", re.ASCII)


def etag(job: Job) -> str:
    """The entity tag of a job: its version, quoted."""
    return f'"{job.version}"'


def read_match(request: Request) -> Match | None:
    """The condition of ``If-Match``, ``None`` without one.

    Weak tags and tags that no version has never match (RFC 9110, section 13.1.1). Raises
    ``InvalidInput`` for anything that is no list of tags.
    """
    text = request.headers.get("if-match")
    if text is None:
        return None
    if text.strip() == "*":
        return Match(versions=None)
    versions: set[int] = set()
    for part in text[:1_000].split(","):
        tag = part.strip()
        found = _TAG.fullmatch(tag)
        if found is None:
            raise InvalidInput.of(
                "If-Match", 'is not a version such as "3", a list of them, or *', "pattern"
            )
        version = found[1] or found[2] or ""
        if not tag.startswith("W/") and _VERSION.fullmatch(version):
            versions.add(int(version))
    return Match(versions=frozenset(versions))


def prefers_minimal(request: Request) -> bool:
    """Whether ``Prefer: return=minimal`` asks for no more than has to be said (RFC 7240)."""
    given = ",".join(request.headers.getlist("prefer"))
    return any(
        one.partition(";")[0].replace(" ", "").lower() in {"return=minimal", 'return="minimal"'}
        for one in given.split(",")
    )


def read_only_new(request: Request) -> bool:
    """Whether ``If-None-Match: *`` asks for a job that does not exist yet."""
    text = request.headers.get("if-none-match")
    if text is None:
        return False
    if text.strip() != "*":
        raise InvalidInput.of("If-None-Match", "is not *, the only condition there is", "pattern")
    return True
