"""The gate where authentication is off: whoever talks to a loopback address."""

from starlette.requests import Request

from tocsin.api.auth import SAFE, Caller, anybody, check_need, check_same_origin
from tocsin.api.needs import Need
from tocsin.api.problems import Refused

_FORWARDED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class OpenGate:
    """Lets everybody in who talks to a loopback address: authentication is off.

    A page that a browser of this machine shows may send requests here too. So changes must come
    from a page of ours or from no page, and requests must name a loopback host, or a name that
    leads here by a trick of DNS (rebinding) would make any page ours.
    """

    auth = "off"

    async def admit(self, request: Request, need: Need) -> Caller:
        """Everybody."""
        if not _is_local(request):
            raise Refused(
                403,
                "forbidden",
                "authentication is off, so only requests to a loopback address such as "
                "http://127.0.0.1 or http://localhost are answered, and none that a proxy hands on",
            )
        if request.method not in SAFE:
            check_same_origin(request)
        caller = anybody(request)
        check_need(caller, need)
        return caller

    async def peek(self, request: Request) -> Caller | None:
        """Everybody who may be admitted."""
        if not _is_local(request):
            return None
        return anybody(request)

    async def open(self, request: Request, secret: str) -> tuple[Caller, None]:  # noqa: ARG002
        """Nothing: there are no sessions."""
        return await self.admit(request, Need()), None

    async def close(self, request: Request, caller: Caller) -> None:
        """Nothing, likewise."""


def _is_local(request: Request) -> bool:
    """Whether a request names this machine, whatever its port, and comes straight from it.

    A proxy in front may listen for all the world, and make the host whatever it likes.
    """
    if not _FORWARDED.isdisjoint(name for name, _ in request.scope["headers"]):
        return False
    host = request.headers.get("host", "").lower()
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return host in _LOOPBACK_NAMES or host.endswith(".localhost")
