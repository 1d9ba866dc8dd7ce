"""Who calls, and whether they may: the gate that every route stands behind."""

import hmac
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

import structlog
from starlette.requests import Request

from tocsin.api.guesses import Guesses
from tocsin.api.needs import Need
from tocsin.api.problems import Refused
from tocsin.domain.access import DEFAULT_NAMESPACE, UNLIMITED, Grant, is_namespace
from tocsin.domain.audit import ANONYMOUS, Actor
from tocsin.domain.errors import Forbidden, InvalidInput, NotFound
from tocsin.domain.key import ApiKey, Session
from tocsin.services.key_shapes import MAX_SECRET
from tocsin.services.scope import Scope
from tocsin.services.sign_in import Opened, SignIn, actor_of, csrf_token

log = structlog.stdlib.get_logger("tocsin.api")

COOKIE = "tocsin_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Its name over TLS: browsers take one called so from this very host only, and only over TLS, so
that no other site of the domain can plant a session of its own."""
CSRF_HEADER = "tocsin-csrf"

MAX_ADDRESS = 64
"""Characters of an address that are looked at: an IPv6 address with a zone takes fewer."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_CALLER = "tocsin.caller"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tocsin"'}


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Whoever makes a request, and what it is about."""

    scope: Scope
    session: Session | None = None
    csrf: str | None = None
    """What changes made with this session must send along."""
    named_namespace: bool = False
    """Whether the request says which namespace it is about."""

    @property
    def key(self) -> ApiKey | None:
        """Theirs; ``None`` where authentication is off."""
        return self.scope.key

    @property
    def grant(self) -> Grant:
        """What they may do."""
        return self.scope.grant


class Gate(Protocol):
    """Decides about each request before its route sees it."""

    auth: str
    """``on`` or ``off``."""

    async def admit(self, request: Request, need: Need) -> Caller:
        """Who calls; raises ``Refused`` (401, 429), ``Forbidden``, ``NotFound``, ``InvalidInput``.

        The same for a request that has no route of its own, such as a stream that goes on.
        """

    async def peek(self, request: Request) -> Caller | None:
        """Who calls a public route, ``None`` where they do not say or it does not work."""

    async def open(self, request: Request, secret: str) -> tuple[Caller, Opened | None]:
        """Begin a session; ``None`` where none is needed. Raises ``Refused`` (401, 403, 429)."""

    async def close(self, request: Request, caller: Caller) -> None:
        """End the session that a request was made with, if it was."""


def caller_of(request: Request) -> Caller:
    """Who makes this request, to a route that is not public."""
    caller: Caller = request.scope[_CALLER]
    return caller


def scope_of(request: Request) -> Scope:
    """What a request is about, and on whose behalf."""
    return caller_of(request).scope


def set_caller(request: Request, caller: Caller) -> None:
    """Let the route know."""
    request.scope[_CALLER] = caller


class _Sent(NamedTuple):
    """What a request says of who makes it, each as it is sent first."""

    authorization: str | None
    api_key: str | None
    cookie: str | None
    namespace: str | None


def _sent(request: Request) -> _Sent:
    """Read in one pass, because every request pays for it."""
    authorization = api_key = cookie = namespace = None
    for name, value in request.scope["headers"]:
        if name == b"authorization" and authorization is None:
            authorization = value.decode("latin-1")
        elif name == b"x-api-key" and api_key is None:
            api_key = value.decode("latin-1")
        elif name == b"cookie" and cookie is None:
            cookie = value.decode("latin-1")
        elif name == b"tocsin-namespace" and namespace is None:
            namespace = value.decode("latin-1")
    return _Sent(authorization, api_key, cookie, namespace)


class KeyGate:
    """Lets in who has a key, or a session of one."""

    auth = "on"

    def __init__(self, sign_in: SignIn, guesses: Guesses | None = None) -> None:
        self._sign_in = sign_in
        self._guesses = guesses or Guesses()

    async def admit(self, request: Request, need: Need) -> Caller:
        """Who calls."""
        sent = _sent(request)
        key, session, csrf = await self._who(request, sent)
        caller = _caller(
            request, sent, key.grant, actor_of(key), key=key, session=session, csrf=csrf
        )
        check_need(caller, need)
        return caller

    async def peek(self, request: Request) -> Caller | None:
        """Who calls a public route."""
        sent = _sent(request)
        try:
            key, session, csrf = await self._who(request, sent)
        except Refused:
            return None
        return _caller(request, sent, key.grant, actor_of(key), key=key, session=session, csrf=csrf)

    async def open(self, request: Request, secret: str) -> tuple[Caller, Opened | None]:
        """Begin a session."""
        check_same_origin(request)
        await self._let_try(request, secret)
        opened = await self._sign_in.open(secret, address_of(request))
        if opened is None:
            raise await self._failed(request)
        key, csrf = opened.key, csrf_token(opened.token)
        caller = _caller(
            request,
            _sent(request),
            key.grant,
            actor_of(key),
            key=key,
            session=opened.session,
            csrf=csrf,
        )
        return caller, opened

    async def close(self, request: Request, caller: Caller) -> None:
        """End the session that a request was made with."""
        if caller.key is not None and caller.session is not None:
            await self._sign_in.close(caller.key, caller.session, address_of(request))

    async def _let_try(self, request: Request, secret: str) -> None:
        """Raise ``Refused`` (429) where this address has to wait before it tries another key."""
        address = address_of(request)
        if not self._guesses.suspects(address) or self._sign_in.knows(secret):
            return
        wait = await self._guesses.wait(address)
        if wait:
            raise Refused(
                429,
                "too_many_failures",
                f"too many keys that do not work came from your address; try again in {wait} s",
                headers={"Retry-After": str(wait)},
            )

    async def _failed(self, request: Request) -> Refused:
        """The answer to a key that does not work, which is counted."""
        address = address_of(request)
        await self._guesses.failed(address)
        log.warning("auth.refused", address=address, path=request.url.path[:200])
        return unauthorized("this key does not work: it is wrong, has expired, or was revoked")

    async def _who(
        self, request: Request, sent: _Sent
    ) -> tuple[ApiKey, Session | None, str | None]:
        secret = _read_secret(sent)
        if secret is not None:
            if len(secret) > MAX_SECRET:
                raise await self._failed(request)
            await self._let_try(request, secret)
            key = await self._sign_in.by_secret(secret)
            if key is None:
                raise await self._failed(request)
            return key, None, None
        token = _read_cookie(request, sent)
        if token is None:
            raise unauthorized(
                "this needs a key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`, "
                "or sign in"
            )
        found = await self._sign_in.by_token(token)
        if found is None:
            raise unauthorized("the session has ended; sign in again")
        key, session = found
        csrf = csrf_token(token)
        if request.method not in SAFE:
            check_same_origin(request)
            given = request.headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(given.encode(), csrf.encode()):
                raise Refused(
                    403,
                    "csrf",
                    "a change that is made with a session needs the header Tocsin-CSRF with the "
                    "csrf_token of GET /api/v1/session",
                )
        return key, session, csrf


def anybody(request: Request) -> Caller:
    """Whoever calls, where authentication is off."""
    return _caller(request, _sent(request), UNLIMITED, ANONYMOUS)


def check_need(caller: Caller, need: Need) -> None:
    """Raise ``Forbidden`` where a caller may not do what a route is for."""
    grant = caller.grant
    if need.action is not None and not grant.allows(need.action):
        limited = "" if grant.actions is None else ", limited to some actions"
        raise Forbidden(
            f"this needs a key that may {need.action.value}; this one is of the role "
            f"{grant.role.value}{limited}"
        )
    if need.whole and grant.tags is not None:
        raise Forbidden("this is about all jobs, and the key is limited to some by their tags")
    if need.everywhere and not grant.everywhere:
        raise Forbidden("this is about all namespaces, and the key is limited to one")


def cookie_name(request: Request) -> str:
    """What the cookie of a session is called in answers to a request, and looked for in it."""
    return SECURE_COOKIE if request.scope["scheme"] == "https" else COOKIE


def read_secret(request: Request) -> str | None:
    """The key that a request carries in a header; raises ``Refused`` where it carries two."""
    return _read_secret(_sent(request))


def read_credential(request: Request) -> str | None:
    """What a request is judged by: its key, else the token of its session; as ``read_secret``."""
    sent = _sent(request)
    secret = _read_secret(sent)
    return _read_cookie(request, sent) if secret is None else secret


def _read_secret(sent: _Sent) -> str | None:
    given, other = sent.authorization, sent.api_key
    if given is None:
        return other
    scheme, _, secret = given.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise unauthorized("the only kind of Authorization here is `Bearer KEY`")
    secret = secret.strip()
    if other is not None and other != secret:
        raise unauthorized("Authorization and X-API-Key carry different keys; send one")
    return secret


def address_of(request: Request) -> str:
    """Where a request comes from, as far as trusted proxies tell."""
    # A proxy may hand on whatever it was sent, and this is kept.
    client = request.scope.get("client")
    return "local" if client is None else str(client[0])[:MAX_ADDRESS]


def unauthorized(detail: str) -> Refused:
    """Nobody known is asking."""
    return Refused(401, "unauthorized", detail, headers=_CHALLENGE)


def check_same_origin(request: Request) -> None:
    """Raise ``Refused`` (403) where a browser says that a page of another site asks."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    # Schemes are not compared: behind a proxy that ends TLS ours is another than the page's.
    host = request.headers.get("host", "").lower()
    if (site is not None and site not in {"same-origin", "none"}) or (
        origin is not None and _place_of(origin) != host
    ):
        raise Refused(403, "cross_site", "changes are not taken from pages of other sites")


def _place_of(origin: str) -> str | None:
    """Host and port of an origin; ``None`` for what is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:  # a bracket that does not close
        return None


def _caller(
    request: Request,
    sent: _Sent,
    grant: Grant,
    actor: Actor,
    *,
    key: ApiKey | None = None,
    session: Session | None = None,
    csrf: str | None = None,
) -> Caller:
    named = _read_namespace(request, sent.namespace)
    if named is None:
        namespace = DEFAULT_NAMESPACE if grant.everywhere else grant.namespace
    elif not is_namespace(named):
        raise InvalidInput.of(
            "namespace",
            "is not a name: start with a-z or 0-9, then up to 62 of a-z, 0-9, '.', '_' and '-'",
            "pattern",
        )
    elif not grant.reaches(named):
        raise NotFound(f"there is no namespace {named!r}")
    else:
        namespace = named
    return Caller(
        scope=Scope(
            namespace=namespace, grant=grant, actor=actor, address=address_of(request), key=key
        ),
        session=session,
        csrf=csrf,
        named_namespace=named is not None,
    )


def _read_namespace(request: Request, header: str | None) -> str | None:
    query: bytes = request.scope["query_string"]
    # A name may be percent-encoded, and may stand without a value.
    if b"namespace" not in query and b"%" not in query:
        return header
    given = [value for name, value in _pairs(query) if name == "namespace"]
    names = {*given, *([] if header is None else [header])}
    if len(names) > 1:
        raise InvalidInput.of("namespace", "is named twice, and not the same", "conflict")
    return names.pop() if names else None


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return []  # refused by the route for having too many


def _read_cookie(request: Request, sent: _Sent) -> str | None:
    if sent.cookie is None or COOKIE not in sent.cookie:
        return None
    wanted = cookie_name(request)
    # By hand: a parser gives up on the first cookie that it does not like, and those of every
    # program on this host come along, whatever its port. Ours need no quotes.
    for pair in sent.cookie.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == wanted:
            return value if 0 < len(value) <= MAX_SECRET else None
    return None
