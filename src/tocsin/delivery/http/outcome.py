"""What a call came to, from the trace that it left."""

from time import perf_counter

from tocsin.delivery.http.excerpt import readable
from tocsin.delivery.http.message import (
    CallFailed,
    DeadlinePassed,
    FailureKind,
    HttpOutcome,
    Timings,
)
from tocsin.delivery.http.section import section_of
from tocsin.delivery.http.trace import Trace


def failed(trace: Trace, failure: CallFailed, timeout: float) -> HttpOutcome:
    """The outcome of a call that did not get its answer; ``timeout`` in seconds."""
    if isinstance(failure, DeadlinePassed):
        reason = f"no answer within {timeout:g}s: {failure.reason}"
        return outcome_of(trace, "timeout", reason)
    return outcome_of(trace, failure.kind, failure.reason)


def outcome_of(
    trace: Trace, kind: FailureKind | None = None, error: str | None = None
) -> HttpOutcome:
    """The outcome of a call that is over."""
    total = (perf_counter() - trace.began) * 1000
    reader = trace.reader
    first_byte = None
    content_type = location = retry_after = None
    status = None
    excerpt = ""
    truncated = False
    if reader is not None and reader.first_byte_at:
        first_byte = (reader.first_byte_at - trace.written_at) * 1000
        if reader.status >= 200:
            status = reader.status
            section = reader.section or section_of(reader.headers)
            content_type, location, retry_after, encoding, charset = section
            body = reader.body
            truncated = reader.size > len(body)
            excerpt = readable(
                body, charset=charset, encoding=encoding, size=reader.size, truncated=truncated
            )
    return HttpOutcome(
        status=status,
        content_type=content_type,
        location=location,
        retry_after=retry_after,
        excerpt=excerpt,
        truncated=truncated,
        error_kind=kind,
        error=error,
        request_written=trace.written,
        timings=Timings(
            dns_ms=_ms(trace.dns),
            connect_ms=_ms(trace.connect),
            proxy_ms=_ms(trace.proxy),
            tls_ms=_ms(trace.tls),
            first_byte_ms=first_byte,
            total_ms=total,
        ),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
