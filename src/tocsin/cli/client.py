"""Talks to a Tocsin server over HTTP, and turns what it refuses into what people can act on."""

import ipaddress
import json
import math
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from tocsin.cli.failure import CommandFailed, ExitCode
from tocsin.cli.identity import KEY_VARIABLE, NAMESPACE_VARIABLE
from tocsin.logins import saved_key

API = "/api/v1"
PAGE = 500
"""Items that are asked for at once."""

LONGEST_WAIT = 60
"""Seconds that the server may ask to wait for, where it is asked too often."""

TRIES = 5
"""How often it is asked again then."""

_CONNECT = 5.0
_JSON = {"Content-Type": "application/json"}
_BY_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.DENIED,
    403: ExitCode.DENIED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    413: ExitCode.USAGE,
    415: ExitCode.USAGE,
    422: ExitCode.USAGE,
    428: ExitCode.CONFLICT,
}


class ServerRefused(CommandFailed):
    """The server answered with a problem; ``problem`` is what it said."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        problem: Mapping[str, Any],
        details: Sequence[str],
    ) -> None:
        hint = None
        if status == 401:
            hint = "'tocsin login' saves a key for this server; --key or TOCSIN_KEY give one."
        exit_code = _BY_STATUS.get(status, ExitCode.FAILED)
        if problem.get("code") == "idempotency_key_reused":
            exit_code = ExitCode.CONFLICT
        super().__init__(message, exit_code=exit_code, details=details, hint=hint)
        self.status = status
        self.problem = problem

    def naming(self, names: Mapping[str, str]) -> "ServerRefused":
        """The same with fields called by the names that people know them by, such as options."""
        return ServerRefused(
            self.message,
            status=self.status,
            problem=self.problem,
            details=_details(self.problem, names),
        )

    @property
    def is_name_taken(self) -> bool:
        """Whether all that is wrong is that the name exists."""
        return bool(self._errors) and all(e.get("code") == "name_taken" for e in self._errors)

    def by_index(self, field: str) -> dict[int, "ServerRefused"]:
        """What is wrong with each item of a list, by its index; empty where it is not of items."""
        blamed: dict[int, list[dict[str, Any]]] = {}
        for error in self._errors:
            place = re.match(rf"{re.escape(field)}[.\[](\d+)\]?\.?(.*)", str(error.get("field")))
            if place is None:
                return {}
            blamed.setdefault(int(place[1]), []).append(error | {"field": place[2]})
        return {
            index: ServerRefused(
                self.message,
                status=self.status,
                problem=problem,
                details=_details(problem, {}),
            )
            for index, errors in blamed.items()
            for problem in [dict(self.problem) | {"errors": errors}]
        }

    @property
    def _errors(self) -> list[dict[str, Any]]:
        return [error for error in self.problem.get("errors") or () if isinstance(error, dict)]


class Client:
    """A connection to one server; use it in a ``with`` statement.

    It goes by the key that it is given, else by ``$TOCSIN_KEY``, else by the saved one.

    Every method raises ``CommandFailed`` where the server cannot be reached, and ``ServerRefused``
    where it answers with a problem.
    """

    def __init__(self, server: str, *, timeout: float = 60.0, key: str | None = None) -> None:
        self.server = _base_url(server)
        self._http = httpx.Client(
            base_url=self.server,
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT)),
            headers={"Accept": "application/json", **_identity(self.server, key)},
            # A proxy of the environment leads away from this machine.
            trust_env=not _is_local(self.server),
            verify=_trust(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """GET below ``/api/v1``; parameters that are ``None`` or empty are left out."""
        try:
            return self.call("GET", path, params=params)
        except ServerRefused as refused:
            raise refused.naming({name: f"--{name.replace('_', '-')}" for name in params}) from None

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a call below ``/api/v1``; the JSON of its answer, ``None`` where it has none."""
        return _json_of(self.exchange(method, path, body=body, params=params, headers=headers))

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Make a call below ``/api/v1`` and return its answer, which is not a problem."""

        def ask() -> httpx.Response:
            with self._reaching():
                return self._http.request(
                    method,
                    API + path,
                    params=_given(params or {}),
                    headers={**(headers or {}), **({} if body is None else _JSON)},
                    content=None if body is None else json.dumps(body).encode(),
                )

        response = ask()
        for _ in range(TRIES):
            wait = response.headers.get("retry-after", "") if response.status_code == 429 else ""
            if not wait.isdigit() or int(wait) > LONGEST_WAIT:
                break
            time.sleep(int(wait))
            response = ask()
        return self.checked(response)

    def probe(self, path: str) -> httpx.Response:
        """GET a path at the root, such as ``/readyz``, whatever the status of its answer."""
        with self._reaching():
            return self._http.get(path)

    def pages(self, path: str, *, limit: int | None, **params: Any) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page, up to ``limit`` (``None``: all)."""
        left: float = math.inf if limit is None else limit
        cursor = None
        while left > 0:
            page = self.get(path, limit=int(min(PAGE, left)), cursor=cursor, **params)
            yield from page["items"]
            left -= len(page["items"])
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    @contextmanager
    def stream(
        self, path: str, *, params: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Iterator[httpx.Response]:
        """An open answer that does not end by itself; a silence of 45 s counts as its end."""
        timeout = httpx.Timeout(45.0, connect=_CONNECT)
        with self._http.stream(
            "GET", API + path, params=_given(params), headers=headers, timeout=timeout
        ) as response:
            if response.is_error:
                response.read()
            yield self.checked(response)

    def request(self, method: str, path: str, *, headers: Mapping[str, str]) -> httpx.Request:
        """A request below ``/api/v1`` with a body of unknown length, to be sent by others."""
        plain = {"Accept-Encoding": "identity", **headers}
        return self._http.build_request(method, API + path, headers=plain, content=iter(()))

    def trust(self) -> ssl.SSLContext:
        """Whom it believes to be the server."""
        return httpx.create_ssl_context(verify=_trust())

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise unreachable(self.server, error) from error

    def checked(self, response: httpx.Response) -> httpx.Response:
        """The same answer, where it is not a problem."""
        if response.is_success:
            return response
        kind = response.headers.get("content-type", "")
        if "json" not in kind:
            raise CommandFailed(
                f"{self.server} does not look like a Tocsin server: it answered "
                f"{response.status_code} {response.reason_phrase} ({kind or 'no content type'})",
                exit_code=ExitCode.UNREACHABLE,
            )
        problem = _json_of(response)
        raise refusal(response.status_code, problem if isinstance(problem, dict) else {})


def job_path(ref: str) -> str:
    """The path of a job by id or name."""
    return f"/jobs/{quote(ref, safe='')}"


def execution_path(ref: str) -> str:
    """The path of an execution."""
    return f"/executions/{quote(ref, safe='')}"


def unreachable(server: str, error: Exception) -> CommandFailed:
    """What to say where a server cannot be reached."""
    reason = str(error) or type(error).__name__
    if "refused" in reason.lower():
        reason = "connection refused"
    elif isinstance(error, httpx.ConnectTimeout):
        reason = "no answer within 5s"
    elif isinstance(error, httpx.ReadTimeout):
        reason = "it took the call but did not answer in time"
    elif isinstance(error, httpx.RemoteProtocolError):
        reason = "it closed the connection without an answer"
    return CommandFailed(
        f"cannot reach the server at {server}: {reason}",
        exit_code=ExitCode.UNREACHABLE,
        hint="Is `tocsin serve` running there? --server or TOCSIN_SERVER says where to look.",
    )


def _base_url(server: str) -> str:
    address = server.strip()
    if "://" not in address:
        address = f"http://{address}"
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or " " in address:
        raise CommandFailed(
            f"{server!r} is not the address of a server; write it as http://127.0.0.1:8080",
            exit_code=ExitCode.USAGE,
        )
    return address.rstrip("/")


def _identity(server: str, key: str | None) -> dict[str, str]:
    """The headers that say who asks, and in which namespace."""
    headers = {}
    key = key or os.environ.get(KEY_VARIABLE) or saved_key(server)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    namespace = os.environ.get(NAMESPACE_VARIABLE)
    if namespace:
        headers["Tocsin-Namespace"] = namespace
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            what = "key" if name == "Authorization" else "namespace"
            raise CommandFailed(
                f"the {what} holds characters that no {what} has", exit_code=ExitCode.USAGE
            )
    return headers


def _trust() -> ssl.SSLContext | bool:
    """Whom to trust: those of ``SSL_CERT_FILE`` where it is set, also on this machine."""
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise CommandFailed(
            f"cannot read the authorities in SSL_CERT_FILE ({file}): {error}",
            exit_code=ExitCode.USAGE,
        ) from error


def _is_local(server: str) -> bool:
    host = httpx.URL(server).host
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value not in (None, "", [], ())}


def _json_of(response: httpx.Response) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise CommandFailed(
            f"{response.request.url} did not answer with JSON: is it a Tocsin server?",
            exit_code=ExitCode.UNREACHABLE,
        ) from error


def refusal(status: int, problem: Mapping[str, Any]) -> ServerRefused:
    """What to say of a problem."""
    details = _details(problem, {})
    message = problem.get("detail") or problem.get("title") or f"the server answered {status}"
    if details:
        # The detail repeats the fields in one long line.
        message = problem.get("title") or "the definition was refused"
    return ServerRefused(str(message), status=status, problem=problem, details=details)


def _details(problem: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    details = []
    for item in problem.get("errors") or ():
        field, text = str(item.get("field") or ""), str(item.get("message") or "")
        name = names.get(field) or next(
            (f"{option} ({field})" for known, option in names.items() if _below(field, known)),
            field,
        )
        details.append(f"{name}: {text}" if name else text)
    return details


def _below(field: str, known: str) -> bool:
    return field.startswith((f"{known}.", f"{known}["))
