"""The request of an attempt as people may see it: filled in, with secrets masked."""

import re
from collections.abc import Mapping
from typing import Final

from tocsin.delivery.request import CompiledTarget, input_body, own_headers, placeholder_values
from tocsin.domain.execution import Execution
from tocsin.domain.instant import Millis
from tocsin.domain.job import BodyKind, HttpTarget, Job
from tocsin.services.trials import ShownRequest

MASK: Final = "••••••"
MAX_BODY: Final = 16_384
"""Characters of a body that are shown."""

_SECRET = re.compile(
    r"authorization|cookie|password|passwd|secret|token|api-?key|signature", re.IGNORECASE
)
_SCHEME = re.compile(r"(Bearer|Basic|Digest|Token)\s+", re.IGNORECASE)


class _Values(dict[str, str]):
    """What placeholders stand for; whatever else they may name is not for showing."""

    def __missing__(self, name: str) -> str:
        return MASK


def shown_request(job: Job, execution: Execution, number: int, at: Millis) -> ShownRequest | None:
    """The request of an attempt that starts at an instant; ``None`` where nothing is called."""
    target = job.spec.target
    if not isinstance(target, HttpTarget):
        return None
    compiled = CompiledTarget(target)
    values: Mapping[str, str] = _Values(placeholder_values(execution, number))
    brought = execution.input is not None
    kind = BodyKind.JSON if brought else target.body_kind
    body = input_body(execution.input) if brought else compiled.body(values)
    headers = [*compiled.headers(values, kind), *_own(execution, number, at)]
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = f"({len(body):,} bytes that are not text)"
    return ShownRequest(
        method=target.method,
        url=compiled.url(values),
        headers=[(name, _masked(name, value)) for name, value in headers],
        body=text[:MAX_BODY],
        truncated=len(text) > MAX_BODY,
    )


def _own(execution: Execution, number: int, at: Millis) -> list[tuple[str, str]]:
    lines = own_headers(execution, number, at).splitlines()
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    # Each call has a span of its own, which is not kept: to show another one would be wrong.
    return [
        (name, f"{value[:36]}…-01" if name == "traceparent" else value) for name, value in headers
    ]


def _masked(name: str, value: str) -> str:
    if not _SECRET.search(name):
        return value
    scheme = _SCHEME.match(value)
    return MASK if scheme is None else f"{scheme[0]}{MASK}"
