"""What a call came to, from the trace that it left."""

from time import perf_counter

from tocsin.delivery.http.excerpt import readable
from tocsin.delivery.http.message import (
    CallFailed,
    DeadlinePassed,
    FailureKind,
    HttpOutcome,
)
from tocsin.delivery.http.section import section_of
from tocsin.delivery.http.trace import Trace
from tocsin.domain.execution import make_timings


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
    total = _ms(perf_counter() - trace.began)
    reader = trace.reader
    first_byte = None
    content_type = location = retry_after = None
    status = None
    excerpt = ""
    truncated = False
    if reader is not None and reader.first_byte_at:
        first_byte = _ms(reader.first_byte_at - trace.written_at)
        if reader.status >= 200:
            status = reader.status
            section = reader.section or section_of(reader.headers)
            content_type, location, retry_after, *_ = section
            body = reader.body
            truncated = reader.size > len(body)
            excerpt = readable(body, section, size=reader.size, truncated=truncated)
    opening = trace.opening
    return HttpOutcome(
        status,
        content_type,
        location,
        retry_after,
        excerpt,
        truncated,
        kind,
        error,
        trace.written,
        make_timings(None, None, None, None, first_byte, total)
        if opening is None
        else make_timings(
            None if opening.dns is None else _ms(opening.dns),
            None if opening.connect is None else _ms(opening.connect),
            None if opening.proxy is None else _ms(opening.proxy),
            None if opening.tls is None else _ms(opening.tls),
            first_byte,
            total,
        ),
        total,
    )


def _ms(seconds: float) -> float:
    # ``round(…, 3)`` takes four times as long, and comes to the same but for the last digit.
    return int(seconds * 1_000_000 + 0.5) / 1_000
