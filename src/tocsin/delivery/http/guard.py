"""Who may be called: the question the client asks before each connect."""

from typing import Protocol

from tocsin.domain.egress import EgressRules

_MAX_KNOWN = 65_536


class Guard(Protocol):
    """Decides whether an address may be called.

    It is asked with the resolved address right before the connect, and the connection goes to that
    very address; again on every redirect, and each time a pooled connection is used, so that a
    changed rule holds at once.  It runs on the event loop: no I/O.

    Where a proxy connects, and resolves the name, there is no address to ask about: ``address`` is
    then empty, and only host and port can be judged.  A host that spells an address is given as
    one then too.
    """

    def check(self, host: str, port: int, address: str) -> str | None:
        """Return ``None`` to allow, or the rule that forbids it, in words for the user."""
        ...


class AllowAll:
    """Allows everything."""

    def check(self, host: str, port: int, address: str) -> str | None:  # noqa: ARG002
        """Allow it."""
        return None


class EgressGuard:
    """Holds calls to the rules; what was decided once is looked up from then on."""

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules
        self._known: dict[tuple[str, int, str], str | None] = {}

    def check(self, host: str, port: int, address: str) -> str | None:
        """See `Guard.check`; an address that cannot be read is forbidden."""
        place = (host, port, address)
        try:
            return self._known[place]
        except KeyError:
            pass
        try:
            rule = self._rules.why_forbidden(host, port, address)
        except ValueError:
            rule = f"{address!r} is not an address"
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[place] = rule
        return rule
