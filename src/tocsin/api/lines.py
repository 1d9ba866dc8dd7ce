"""Bodies that are lines: cut where they end, whatever the pieces in which they come."""


class Lines:
    """Cuts a body into numbered lines of at most so many bytes; empty ones are left out.

    No more than one line is kept, and of one that is too long nothing.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = b""
        self._skipping = False
        self.count = 0
        """Lines that have ended, empty ones too."""

    def feed(self, data: bytes) -> list[tuple[int, bytes | None]]:
        """The lines that end in this piece, each with its number; ``None`` for one too long."""
        first, *others = data.split(b"\n")
        if not others:
            self._keep(first)
            return []
        found: list[tuple[int, bytes | None]] = []
        number = self.count + 1
        if self._skipping or len(self._rest) + len(first) > self._longest:
            found.append((number, None))
        else:
            line = self._rest + first
            if line.strip():
                found.append((number, line))
        last = others.pop()
        for line in others:
            number += 1
            if len(line) > self._longest:
                found.append((number, None))
            elif line.strip():
                found.append((number, line))
        self.count = number
        self._rest, self._skipping = b"", False
        self._keep(last)
        return found

    def end(self) -> list[tuple[int, bytes | None]]:
        """The last line, where nothing ended it."""
        return self.feed(b"\n") if self._rest or self._skipping else []

    def _keep(self, part: bytes) -> None:
        if self._skipping or len(self._rest) + len(part) > self._longest:
            self._rest, self._skipping = b"", True
        else:
            self._rest += part
