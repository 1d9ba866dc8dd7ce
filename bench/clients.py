"""One HTTP client in a process of its own: ``python -m bench.clients NAME URL COUNT [CA]``.

CA is a file with the authority that ``https://`` is trusted by.

Prints the microseconds of CPU that a call takes, those of all threads, and calls per second. Each
client is used as its documentation says for many calls to one place: a session that is kept, a
pool that is large enough, a deadline for the whole call, no proxies from the environment.
"""

import asyncio
import contextlib
import json
import resource
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import load
from bench.baselines import CALL_BODY, call_headers, execution_id

CONCURRENCY = 50
WARM_UP = 500
"""Calls that are made before it counts: connections are open then, and code is compiled."""

Call = Callable[[], Awaitable[int]]
"""Makes a call, reads the whole answer, returns its status."""

HEADERS = dict(line.split(": ", 1) for line in call_headers(execution_id(0, 0), 0))
HEADERS["Content-Type"] = "application/json"


@contextlib.asynccontextmanager
async def _own(url: str, ca: str | None) -> AsyncIterator[Call]:
    from tocsin.delivery.http import AllowAll, HttpClient, HttpRequest, system_context

    tls = system_context()
    if ca:
        tls.load_verify_locations(ca)
    client = HttpClient(guard=AllowAll(), tls_context=tls, max_connections_per_origin=CONCURRENCY)
    request = HttpRequest(
        method="POST", url=url, headers=list(HEADERS.items()), body=CALL_BODY, timeout=30.0
    )

    async def call() -> int:
        outcome = await client.call(request)
        if outcome.status is None:
            raise RuntimeError(outcome.error)
        return outcome.status

    yield call
    await client.close()


@contextlib.asynccontextmanager
async def _pyreqwest(url: str, ca: str | None) -> AsyncIterator[Call]:
    from datetime import timedelta

    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().http1_only().no_proxy().timeout(timedelta(seconds=30))
    if ca:
        builder = builder.add_root_certificate_pem(Path(ca).read_bytes())
    async with builder.max_connections(CONCURRENCY).build() as client:

        async def call() -> int:
            request = client.post(url).headers(HEADERS).body_bytes(CALL_BODY).build()
            response = await request.send()
            await response.bytes()
            return response.status

        yield call


@contextlib.asynccontextmanager
async def _rnet(url: str, ca: str | None) -> AsyncIterator[Call]:
    import rnet

    client = rnet.Client(
        timeout=30, no_proxy=True, http1_only=True, verify=Path(ca) if ca else True
    )

    async def call() -> int:
        response = await client.post(url, headers=HEADERS, body=CALL_BODY)
        await response.bytes()
        return int(response.status)

    yield call


@contextlib.asynccontextmanager
async def _aiohttp(url: str, ca: str | None) -> AsyncIterator[Call]:
    import aiohttp

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=CONCURRENCY, ssl=ssl.create_default_context(cafile=ca) if ca else True
        ),
        timeout=aiohttp.ClientTimeout(total=30),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:

        async def call() -> int:
            async with session.post(url, headers=HEADERS, data=CALL_BODY) as response:
                await response.read()
                return response.status

        yield call


@contextlib.asynccontextmanager
async def _httpx(url: str, ca: str | None) -> AsyncIterator[Call]:
    import httpx

    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    async with httpx.AsyncClient(
        limits=limits,
        timeout=30,
        trust_env=False,
        verify=ssl.create_default_context(cafile=ca) if ca else True,
    ) as client:

        async def call() -> int:
            response = await client.post(url, headers=HEADERS, content=CALL_BODY)
            return response.status_code

        yield call


CLIENTS: dict[str, Callable[[str, str | None], contextlib.AbstractAsyncContextManager[Call]]] = {
    "tocsin": _own,
    "pyreqwest": _pyreqwest,
    "rnet": _rnet,
    "aiohttp": _aiohttp,
    "httpx": _httpx,
}


def installed(name: str) -> str | None:
    """The version of a client; ``None`` where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


async def _measure(name: str, url: str, count: int, ca: str | None) -> tuple[float, float]:
    async with CLIENTS[name](url, ca) as call:
        await _calls(call, WARM_UP)
        began, used = time.perf_counter(), _cpu()
        await _calls(call, count)
        return (_cpu() - used) / count * 1e6, count / (time.perf_counter() - began)


async def _calls(call: Call, count: int) -> None:
    left = count

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            status = await call()
            if status != 200:
                raise RuntimeError(f"answered {status}")

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    what, where, calls, *authority = sys.argv[1:]
    trusted = authority[0] if authority else None
    cpu, rate = load.run(lambda: _measure(what, where, int(calls), trusted))
    print(json.dumps({"cpu_us": cpu, "rate": rate}))
