"""Headers that keep browsers from doing with an answer what it is not meant for.

The sources are OWASP's Secure Headers Project and, for the policies, Content Security Policy
Level 3. Pages load their own files only; other answers load nothing; nothing may be framed.
"""

from collections.abc import Iterable

Header = tuple[bytes, bytes]

PAGE_POLICY = (
    b"default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Components write styles into the page, so styles may be inline; scripts may not."""

DATA_POLICY = b"default-src 'none'; frame-ancestors 'none'"

_EVERYWHERE: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_HSTS: Header = (b"strict-transport-security", b"max-age=31536000")
_NO_STORE: Header = (b"cache-control", b"no-store")
_API = (*_EVERYWHERE, _NO_STORE)
_DATA: Header = (b"content-security-policy", DATA_POLICY)
_PAGE: Header = (b"content-security-policy", PAGE_POLICY)


def security_headers(given: Iterable[Header], *, path: str, scheme: str) -> list[Header]:
    """The headers of an answer, those for its security added.

    A policy and a rule for caches that the answer has already stay. What the API answers is kept
    by no cache: it depends on who asks. HSTS is only said over TLS, where it is not ignored.
    """
    headers = list(given)
    names = dict(headers)
    if names.get(b"content-type") == b"application/json" and path.startswith("/api/v1/"):
        # Most answers, at once.
        headers += _EVERYWHERE if b"cache-control" in names else _API
        headers.append(_DATA)
    else:
        headers += _EVERYWHERE
        if b"content-security-policy" not in names:
            is_page = names.get(b"content-type", b"").startswith(b"text/html")
            headers.append(_PAGE if is_page else _DATA)
        if b"cache-control" not in names and path.startswith("/api/v1/"):
            headers.append(_NO_STORE)
    if scheme == "https":
        headers.append(_HSTS)
    return headers
