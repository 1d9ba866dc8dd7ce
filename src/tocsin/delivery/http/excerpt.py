"""The start of an answer's body as text that is safe to store and to print."""

import codecs
import re

# Decoders that turn bytes into text and nothing else: no compression, no escapes, no state that a
# hostile body could make expensive (punycode, idna). What is not here is read as UTF-8.
_CHARSETS = re.compile(
    r"utf-?8|utf-?(16|32)(-?[lb]e)?|(us-)?ascii|iso-?8859-\d{1,2}|latin-?\d{1,2}|"
    r"(windows-|cp)12\d\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift[_-]jis|euc-(jp|kr)"
)
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s"';,]+)""", re.IGNORECASE)
_CONTROL_BYTES = bytes(b for b in range(0x20) if b not in b"\t\n\r") + b"\x7f"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def charset_of(content_type: str | None) -> str:
    """The charset that a content type names; UTF-8 where it names none or an unusual one."""
    if content_type and (named := _CHARSET.search(content_type)):
        charset = named[1].lower()
        if _CHARSETS.fullmatch(charset):
            return charset
    return "utf-8"


def readable(
    start: bytes, *, charset: str, encoding: str | None, size: int, truncated: bool
) -> str:
    """Return ``start`` as text.

    It is decoded with a ``charset`` that `charset_of` gave; what cannot be decoded becomes U+FFFD.
    Control characters but tab and line ends become their visible pictures (U+2400 and on), so that
    neither a terminal nor a database minds them. A body in a content ``encoding`` is noted with its
    ``size`` in bytes: ``<gzip, 312 bytes>``.
    """
    if not start:
        return ""
    if encoding is not None:
        name = _CONTROL.sub("", encoding)[:40]
        return f"<{name}, {size} bytes>"
    # A charset that is not made of ASCII says so, and is nearly never seen.
    if (
        start.isascii()
        and not charset.startswith(("utf-16", "utf16", "utf-32", "utf32"))
        and len(start.translate(None, _CONTROL_BYTES)) == len(start)
    ):
        return start.decode("ascii")
    try:
        decoder = codecs.getincrementaldecoder(charset)("replace")
    except LookupError:  # of a permitted shape, but there is no such one (iso-8859-99)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
    # Where the excerpt was cut, half a character at its end is our doing: it is left out.
    text = decoder.decode(start, final=not truncated)
    return _CONTROL.sub(_picture, text)


def _picture(control: re.Match[str]) -> str:
    code = ord(control[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"
