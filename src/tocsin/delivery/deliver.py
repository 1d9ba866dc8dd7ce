"""One attempt: the call is made and judged."""

from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Protocol, assert_never

import structlog

from tocsin.delivery.credentials import Credentials, Mask, MissingSecret
from tocsin.delivery.http import CallFailed, Head, HttpOutcome, HttpRequest, NotSent
from tocsin.delivery.request import CompiledTarget, input_body, own_headers, placeholder_values
from tocsin.delivery.signing import HEADER, CannotSign, Signers
from tocsin.domain.execution import Attempt, ErrorKind, Execution, make_attempt, make_excerpt
from tocsin.domain.instant import Millis
from tocsin.domain.job import BodyKind, DeliveryMode, HttpTarget, Job, LogTarget
from tocsin.domain.placeholder import Template
from tocsin.domain.schedule import At
from tocsin.engine.caller import CallResult, CallUnderWay, NotStarted
from tocsin.engine.clock import Clock
from tocsin.services.vault import Vault
from tocsin.store.port import Claim

log = structlog.stdlib.get_logger("tocsin.reminder")

COMPILED_KEPT = 20_000
"""How many taken-apart targets are kept for the next fire of their job."""

COMPILED_BYTES = 2**25
"""How many bytes of URLs, headers and bodies these hold at most."""


class Client(Protocol):
    """Makes HTTP calls; whatever goes wrong with one is in its outcome."""

    async def call(self, request: HttpRequest) -> HttpOutcome:
        """Make the call; raises ``NotSent`` where it must not be sent any more."""

    def head(self, method: str, url: str, headers: Sequence[tuple[str, str]]) -> Head:
        """What calls to one place have in common; raises ``CallFailed``."""

    def start(
        self,
        head: Head,
        own: bytes,
        body: bytes,
        *,
        timeout: float,
        max_body: int,
        excerpt: int,
        may_send: Callable[[], bool],
        ended: Callable[[HttpOutcome], None],
    ) -> CallUnderWay | None:
        """Make the call without a task, where that is possible now; raises ``NotSent``."""


class Deliver:
    """Makes the calls of executions."""

    def __init__(
        self,
        *,
        client: Client,
        clock: Clock,
        node_name: str,
        max_response: int,
        excerpt: int,
        may_send: Callable[[], bool] = lambda: True,
        vault: Vault | None = None,
    ) -> None:
        """Bytes for ``max_response`` and ``excerpt``; ``may_send`` proves the node's lease.

        Without a ``vault`` calls are not signed, and those that use a secret cannot be made.
        """
        self._vault = vault
        self._signers = None if vault is None else Signers(vault)
        self._may_send = may_send
        self._client = client
        self._clock = clock
        self._node_name = node_name
        self._max_response = max_response
        self._excerpt = excerpt
        self._compiled: dict[str, tuple[int, CompiledTarget]] = {}
        self._compiled_bytes = 0
        """Those of what was put in since it was empty; versions that were replaced count too."""

    def begin(
        self, claim: Claim, ended: Callable[[CallResult | Exception], None]
    ) -> CallUnderWay | None:
        """Make the next attempt without a task, as ``Caller`` says."""
        job = claim.job
        spec = job.spec
        target = spec.target
        if not isinstance(target, HttpTarget) or spec.delivery is _AT_MOST_ONCE or target.redirects:
            return None
        compiled = self._compile(job, target)
        if compiled.credentials is not None:
            return None
        execution = claim.execution
        number = len(execution.attempts) + 1
        now = self._clock.now()
        try:
            head = compiled.head
            if head is None or execution.input is not None:
                values = placeholder_values(execution, number) if compiled.templated else _NO_VALUES
                url, headers, body = _filled_in(compiled, execution, values)
                head = self._client.head(target.method, url, headers)
                if not compiled.templated and execution.input is None:
                    compiled.head = head
            else:
                body = compiled.body(_NO_VALUES)
            return self._client.start(
                head,
                self._own_headers(execution, target, number, now, body).encode(),
                body,
                timeout=target.timeout / 1_000,
                max_body=self._max_response,
                excerpt=self._excerpt,
                may_send=self._may_send,
                ended=partial(self._end, job, number, now, ended),
            )
        except NotSent:
            raise NotStarted from None
        except (CallFailed, CannotSign):
            return None  # The long way tells it in its outcome.

    def _end(
        self,
        job: Job,
        number: int,
        started_at: Millis,
        ended: Callable[[CallResult | Exception], None],
        outcome: HttpOutcome,
    ) -> None:
        """Hand on what came of a call that was begun without a task."""
        result: CallResult | Exception
        try:
            result = self.result(outcome, job, number, started_at)
        except Exception as error:  # noqa: BLE001  # a bug of ours, which the engine deals with
            result = error
        ended(result)

    async def call(self, claim: Claim) -> CallResult:
        """Make the next attempt of a claimed execution."""
        match claim.job.spec.target:
            case LogTarget() as target:
                return self._write(claim, target)
            case HttpTarget() as target:
                return await self._post(claim, target)
        assert_never(claim.job.spec.target)

    def _write(self, claim: Claim, target: LogTarget) -> CallResult:
        execution = claim.execution
        number = len(execution.attempts) + 1
        text = Template.parse(target.text).render(placeholder_values(execution, number))
        log.info("reminder", text=text, job=execution.job_name, execution_id=execution.id)
        attempt = Attempt(
            number=number,
            started_at=self._clock.now(),
            duration_ms=0.0,
            node=self._node_name,
        )
        return CallResult(attempt, True)

    async def _post(self, claim: Claim, target: HttpTarget) -> CallResult:
        execution = claim.execution
        number = len(execution.attempts) + 1
        compiled = self._compile(claim.job, target)
        values = placeholder_values(execution, number) if compiled.templated else _NO_VALUES
        started_at = self._clock.now()
        credentials, secret, mask = compiled.credentials, _NO_HEADERS, None
        try:
            if credentials is not None:
                values = {
                    **placeholder_values(execution, number),
                    **self._secrets(credentials, execution.namespace),
                }
                secret = credentials.authorization(values)
                mask = credentials.mask(values, secret)
            url, headers, body = _filled_in(compiled, execution, values)
            own = self._own_headers(execution, target, number, started_at, body)
        except (MissingSecret, CannotSign) as why:
            return self._not_made(number, started_at, str(why))
        request = HttpRequest(
            method=target.method,
            url=url,
            headers=[*headers, *secret],
            own=own,
            body=body,
            timeout=target.timeout / 1_000,
            redirects=target.redirects,
            max_body=self._max_response,
            excerpt=self._excerpt,
            fresh_connection=claim.job.spec.delivery is DeliveryMode.AT_MOST_ONCE,
            may_send=self._may_send,
            confidential=_NO_NAMES if credentials is None else credentials.headers,
            confidential_body=credentials is not None
            and credentials.in_body
            and execution.input is None,
        )
        try:
            outcome = await self._client.call(request)
        except NotSent:
            raise NotStarted from None
        return self.result(outcome, claim.job, number, started_at, mask)

    def result(
        self,
        outcome: HttpOutcome,
        job: Job,
        number: int,
        started_at: Millis,
        mask: Mask | None = None,
    ) -> CallResult:
        """What an outcome means for the execution; ``mask`` hides the secrets of the call."""
        error_kind, error = judge(outcome, job)
        excerpt = outcome.excerpt
        if mask is not None:
            excerpt = mask(excerpt, truncated=outcome.truncated)
            error = None if error is None else mask(error)
        status = outcome.status
        attempt = make_attempt(
            number,
            started_at,
            outcome.total_ms,
            status,
            error_kind,
            error,
            self._node_name,
            outcome.timings,
            None if status is None else make_excerpt(excerpt, outcome.truncated),
        )
        asked = outcome.retry_after
        return CallResult(
            attempt,
            outcome.request_written,
            None if asked is None else retry_after(asked, self._clock.now()),
        )

    def _secrets(self, credentials: Credentials, namespace: str) -> Mapping[str, str]:
        if self._vault is None:
            raise MissingSecret("this node keeps no secrets")
        return credentials.values(self._vault, namespace)

    def _own_headers(
        self, execution: Execution, target: HttpTarget, number: int, now: Millis, body: bytes
    ) -> str:
        """The header lines that every call carries, the signature among them where there is a key.

        Raises ``CannotSign``.
        """
        own = own_headers(execution, number, now)
        if self._signers is None:
            return own
        signer = self._signers.of(execution.namespace, target.signing, now)
        if signer is None:
            return own
        return f"{own}{HEADER}: {signer.sign(execution.id, now // 1_000, body)}\r\n"

    def _not_made(self, number: int, now: Millis, error: str) -> CallResult:
        """A call that cannot be made: nothing was sent."""
        attempt = Attempt(
            number=number,
            started_at=now,
            duration_ms=0.0,
            error_kind=ErrorKind.PROTOCOL,
            error=error,
            node=self._node_name,
        )
        return CallResult(attempt, False)

    def _compile(self, job: Job, target: HttpTarget) -> CompiledTarget:
        known = self._compiled.get(job.id)
        if known is not None and known[0] == job.version:
            return known[1]
        compiled = CompiledTarget(target)
        if isinstance(job.spec.schedule.kind, At):
            return compiled  # It will hardly be called again.
        size = compiled.size
        if len(self._compiled) >= COMPILED_KEPT or self._compiled_bytes + size > COMPILED_BYTES:
            # Cheaper than to know which of them was used last.
            self._compiled.clear()
            self._compiled_bytes = 0
        if size <= COMPILED_BYTES:
            self._compiled_bytes += size
            self._compiled[job.id] = (job.version, compiled)
        return compiled


# In Python 3.11 it takes as long to look up a member of an enumeration as to call a function.
_AT_MOST_ONCE = DeliveryMode.AT_MOST_ONCE
_NO_VALUES: Mapping[str, str] = {}
_NO_HEADERS: Sequence[tuple[str, str]] = ()
_NO_NAMES: frozenset[str] = frozenset()


def _filled_in(
    compiled: CompiledTarget, execution: Execution, values: Mapping[str, str]
) -> tuple[str, Sequence[tuple[str, str]], bytes]:
    """URL, headers and body of an attempt; a body that a trigger brought goes before the job's."""
    brought = execution.input is not None
    kind = BodyKind.JSON if brought else compiled.target.body_kind
    body = input_body(execution.input) if brought else compiled.body(values)
    return compiled.url(values), compiled.headers(values, kind), body


def judge(outcome: HttpOutcome, job: Job) -> tuple[ErrorKind | None, str | None]:
    """Whether a call did what the job asks for; the kind of error and a sentence otherwise."""
    if outcome.error_kind is not None:
        return ErrorKind(outcome.error_kind), outcome.error
    status = outcome.status
    if status is not None and status in job.spec.success:
        return None, None
    wanted = ", ".join(job.spec.success.tokens)
    answer = f"answered {status}{_phrase(status)}; success is {wanted}"
    if outcome.location is not None:
        answer += "; redirects are followed only where target.redirects says how many"
    return ErrorKind.HTTP_STATUS, answer


def retry_after(value: str, now: Millis) -> Millis | None:
    """The wait that a ``Retry-After`` header asks for, in milliseconds (RFC 9110, 10.2.3).

    ``None`` for a header that is neither seconds nor a date that there is.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:10]), 10**9) * 1_000
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):  # the latter for numbers of many digits
        return None
    return max(0, round(at * 1_000) - now)


def _phrase(status: int | None) -> str:
    try:
        return "" if status is None else f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""
