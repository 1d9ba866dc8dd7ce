"""What kind of answer a client would rather have (RFC 9110, 12.5.1)."""


def prefers_html(accept: str) -> bool:
    """Whether a page is wanted rather than JSON: as browsers say it, and programs do not."""
    html = _quality(accept, "text/html")
    return html is not None and html > (_quality(accept, "application/json") or 0.0)


def _quality(accept: str, media: str) -> float | None:
    """How much a kind is wanted, 0 .. 1, by the range that names it best; ``None``: by none."""
    ranges = {}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        ranges[name] = next((_number(one[2:]) for one in parameters if one[:2] == "q="), 1.0)
    for name in (media, media.partition("/")[0] + "/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return None


def _number(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
