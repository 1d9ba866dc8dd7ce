"""Places that are taken for a while: so many altogether, and so many by one holder."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """Counts who holds how many, so that no key can keep all others out.

    Where authentication is off nobody has a key, and only the whole number counts.
    """

    def __init__(self, *, whole: int, each: int) -> None:
        self._whole = whole
        self._each = each
        self._taken: Counter[str | None] = Counter()

    @property
    def taken(self) -> int:
        """How many are taken."""
        return self._taken.total()

    def refusal(self, holder: str | None) -> str | None:
        """How many are taken, and by whom, where this holder can have no more."""
        if self.taken >= self._whole:
            return f"{self._whole} on this node"
        if holder is not None and self._taken[holder] >= self._each:
            return f"{self._each} with this key on this node"
        return None

    @contextmanager
    def take(self, holder: str | None) -> Iterator[None]:
        """Hold a place; whether there is one was asked before."""
        self._taken[holder] += 1
        try:
            yield
        finally:
            self._taken[holder] -= 1
            if not self._taken[holder]:
                del self._taken[holder]
