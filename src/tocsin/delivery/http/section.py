"""What the header section of an answer says that a call's outcome needs."""

from collections.abc import Iterable
from typing import NamedTuple

from tocsin.delivery.http.excerpt import charset_of

# The longest that is kept of an answer's headers, in characters.
_MAX_CONTENT_TYPE, _MAX_LOCATION, _MAX_RETRY_AFTER = 200, 2000, 100

_OF_INTEREST = frozenset({b"content-type", b"content-encoding", b"location", b"retry-after"})


class Section(NamedTuple):
    """What some headers of an answer say; ``None`` where they are not there."""

    content_type: str | None
    location: str | None
    retry_after: str | None
    encoding: str | None
    """The content encoding, unless it is none (``identity``)."""
    charset: str
    """How the body spells text; see `excerpt.charset_of`."""


def section_of(headers: Iterable[tuple[bytes, bytes]]) -> Section:
    """Look at the headers of an answer; the first content type counts, of the others the last."""
    content_type = encoding = location = retry_after = None
    for name, value in headers:
        key = name.lower()
        if key not in _OF_INTEREST:
            continue
        if key == b"content-type":
            content_type = content_type or text_of(value)[:_MAX_CONTENT_TYPE]
        elif key == b"content-encoding":
            encoding = text_of(value)
        elif key == b"location":
            location = text_of(value)[:_MAX_LOCATION]
        else:
            retry_after = text_of(value)[:_MAX_RETRY_AFTER]
    if not encoding or encoding.lower() == "identity":
        encoding = None
    return Section(content_type, location, retry_after, encoding, charset_of(content_type))


def text_of(value: bytes) -> str:
    """Decode a header's value; most are ASCII, some are UTF-8, any byte is Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
