"""What the header section of an answer says that a call's outcome needs."""

import re
from collections.abc import Iterable
from typing import NamedTuple

# The longest that is kept of an answer's headers, in characters.
_MAX_CONTENT_TYPE, _MAX_LOCATION, _MAX_RETRY_AFTER = 200, 2000, 100

_OF_INTEREST = frozenset({b"content-type", b"content-encoding", b"location", b"retry-after"})

# Decoders that turn bytes into text and nothing else: no compression, no escapes, no state that a
# hostile body could make expensive (punycode, idna). What is not here is read as UTF-8.
_CHARSETS = re.compile(
    r"utf-?8|utf-?(16|32)(-?[lb]e)?|(us-)?ascii|iso-?8859-\d{1,2}|latin-?\d{1,2}|"
    r"(windows-|cp)12\d\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift[_-]jis|euc-(jp|kr)"
)
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s"';,]+)""", re.IGNORECASE)


class Section(NamedTuple):
    """What some headers of an answer say; ``None`` where they are not there."""

    content_type: str | None
    location: str | None
    retry_after: str | None
    encoding: str | None
    """The content encoding, unless it is none (``identity``)."""
    charset: str
    """How the body spells text; see `charset_of`."""
    ascii: bool
    """ASCII stands for itself in the body."""


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
    charset = charset_of(content_type)
    # A charset that is not made of ASCII says so, and is nearly never seen.
    wide = charset.startswith(("utf-16", "utf16", "utf-32", "utf32"))
    return Section(
        content_type, location, retry_after, encoding, charset, encoding is None and not wide
    )


def charset_of(content_type: str | None) -> str:
    """The charset that a content type names; UTF-8 where it names none or an unusual one."""
    if content_type and (named := _CHARSET.search(content_type)):
        charset = named[1].lower()
        if _CHARSETS.fullmatch(charset):
            return charset
    return "utf-8"


def text_of(value: bytes) -> str:
    """Decode a header's value; most are ASCII, some are UTF-8, any byte is Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
