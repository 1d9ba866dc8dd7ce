"""Rules over HTTP status codes: ``2xx``, ``404``, ``500-504``."""

import re
from collections.abc import Iterable
from functools import lru_cache

_TOKEN = re.compile(
    r"(?P<family>[1-5])xx|(?P<low>[1-5]\d\d)(?:-(?P<high>[1-5]\d\d))?", re.IGNORECASE
)


class CodeRule:
    """A set of status codes, written as families, codes and ranges.

    Raises ``ValueError`` for a token that is none of these; compares and hashes by its tokens.
    """

    __slots__ = ("_codes", "tokens")

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = tuple(tokens)
        self._codes = _codes(self.tokens)

    def __contains__(self, status: object) -> bool:
        return status in self._codes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CodeRule) and self.tokens == other.tokens

    def __hash__(self) -> int:
        return hash(self.tokens)

    def __repr__(self) -> str:
        return f"CodeRule({list(self.tokens)!r})"


@lru_cache(maxsize=1_024)  # Millions of jobs share a handful of rules.
def _codes(tokens: tuple[str, ...]) -> frozenset[int]:
    return frozenset(code for token in tokens for code in _codes_of(token))


def _codes_of(token: str) -> range:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ValueError(
            f"{token!r} is not a status rule; write a family (2xx), a code (404) "
            "or a range (500-504)"
        )
    if match["family"]:
        low = int(match["family"]) * 100
        return range(low, low + 100)
    low = int(match["low"])
    high = int(match["high"] or low)
    if high < low:
        raise ValueError(f"{token!r} runs backwards; write the lower code first")
    return range(low, high + 1)
