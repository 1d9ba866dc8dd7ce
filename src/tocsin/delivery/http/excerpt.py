"""The start of an answer's body as text that is safe to store and to print."""

import codecs
import re

from tocsin.delivery.http.section import Section

_CONTROL_BYTES = bytes(b for b in range(0x20) if b not in b"\t\n\r") + b"\x7f"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def readable(start: bytes, section: Section, *, size: int, truncated: bool) -> str:
    """Return ``start`` as text.

    It is decoded as the header section says; what cannot be decoded becomes U+FFFD. Control
    characters but tab and line ends become their visible pictures (U+2400 and on), so that neither
    a terminal nor a database minds them. A body in a content encoding is noted with its ``size`` in
    bytes: ``<gzip, 312 bytes>``.
    """
    if not start:
        return ""
    if (
        section.ascii
        and start.isascii()
        and len(start.translate(None, _CONTROL_BYTES)) == len(start)
    ):
        return start.decode("ascii")
    if section.encoding is not None:
        name = _CONTROL.sub("", section.encoding)[:40]
        return f"<{name}, {size} bytes>"
    try:
        decoder = codecs.getincrementaldecoder(section.charset)("replace")
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
