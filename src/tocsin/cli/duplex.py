"""A request whose answer is read line by line while its body is still being sent.

httpx sends a whole body before it reads a byte. A server that answers on the way, and reads no
further where nobody takes its answers, would wait for a client that waits for it.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

import h11
import httpx

from tocsin.cli.failure import CommandFailed, ExitCode

if TYPE_CHECKING:
    from tocsin.cli.client import Client

T = TypeVar("T")

PIECE = 64 * 1024
"""Bytes that are read at once, from the body's source as well as from the server."""

CONNECT = 5.0
"""Seconds that connecting may take."""

INVITED = 2.0
"""Seconds that the server has to ask for the body, before it is sent unasked (RFC 9110, 10.1.1)."""

SILENCE = 120.0
"""Seconds without a byte of the answer after which the server counts as gone; it ends a stream
that sends nothing for a minute itself."""


class BrokeOff(Exception):
    """The connection ended before the answer did; the message says how."""


async def answer_lines(
    client: "Client", path: str, body: AsyncIterator[bytes], headers: Mapping[str, str]
) -> AsyncGenerator[bytes, None]:
    """POST a body below ``/api/v1``, and yield the lines of the answer as they come.

    It goes to the server directly, whatever proxies the environment names.

    Raises ``CommandFailed`` where the server cannot be reached, ``ServerRefused`` where it answers
    with a problem, ``BrokeOff`` where the connection ends in the middle, and what ``body`` raises.
    """
    request = client.request("POST", path, headers={**headers, "Expect": "100-continue"})
    reader, writer = await _connect(client, request.url)
    state = h11.Connection(h11.CLIENT)
    invited = asyncio.Event()
    sending = asyncio.create_task(_send(state, writer, request, body, invited))
    try:
        async for line in _lines(client, request, state, reader, invited):
            yield line
    except (h11.RemoteProtocolError, OSError) as error:
        if sending.done() and not sending.cancelled():
            sending.result()  # the input failed, which ended the connection
        raise BrokeOff(_why(error)) from error
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await sending
        writer.transport.abort()


async def in_background(work: Callable[[], T]) -> T:
    """What ``work`` returns or raises; it is left alone where nobody waits for it any more.

    A thread of a pool would be waited for at the end: for ever, where it reads from a terminal.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        value, failure = None, None
        try:
            value = work()
        except Exception as error:  # noqa: BLE001  # raised where it is waited for
            failure = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, value, failure)

    Thread(target=run, daemon=True).start()
    return await future


async def _connect(
    client: "Client", url: httpx.URL
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    from tocsin.cli.client import unreachable

    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    trust = client.trust() if secure else None
    try:
        async with asyncio.timeout(CONNECT):
            return await asyncio.open_connection(url.host, port, ssl=trust, limit=PIECE)
    except TimeoutError as error:
        raise unreachable(client.server, httpx.ConnectTimeout("")) from error
    except (OSError, ssl.SSLError) as error:
        refused = isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error)
        raise unreachable(client.server, OSError("refused") if refused else error) from error


async def _send(
    state: h11.Connection,
    writer: asyncio.StreamWriter,
    request: httpx.Request,
    body: AsyncIterator[bytes],
    invited: asyncio.Event,
) -> None:
    head = h11.Request(
        method=request.method, target=request.url.raw_path, headers=request.headers.raw
    )
    try:
        writer.write(state.send(head) or b"")
        with suppress(TimeoutError):
            async with asyncio.timeout(INVITED):
                await invited.wait()
        async for piece in body:
            writer.write(state.send(h11.Data(data=piece)) or b"")
            await writer.drain()
        writer.write(state.send(h11.EndOfMessage()) or b"")
        await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass  # What has become of the connection is read on the other side.
    except BaseException:
        writer.transport.abort()
        raise


async def _lines(
    client: "Client",
    request: httpx.Request,
    state: h11.Connection,
    reader: asyncio.StreamReader,
    invited: asyncio.Event,
) -> AsyncIterator[bytes]:
    head: h11.Response | None = None
    rest = bytearray()
    while True:
        event = state.next_event()
        if event is h11.NEED_DATA:
            async with asyncio.timeout(SILENCE):
                state.receive_data(await reader.read(PIECE))
        elif isinstance(event, h11.InformationalResponse):
            invited.set()
        elif isinstance(event, h11.Response):
            head = event
            if head.status_code == 200:
                _require_lines(client, head)
                invited.set()
        elif isinstance(event, h11.Data):
            rest += event.data
            if head is not None and head.status_code == 200:
                *lines, last = rest.split(b"\n")
                for line in lines:
                    yield bytes(line)
                rest = last
        else:
            break
    if head is None:
        raise BrokeOff("it closed the connection without an answer")
    if head.status_code != 200:
        raw = [(name, value) for name, value in head.headers if name != b"transfer-encoding"]
        client.checked(
            httpx.Response(head.status_code, headers=raw, content=bytes(rest), request=request)
        )


def _require_lines(client: "Client", head: h11.Response) -> None:
    kind = dict(head.headers).get(b"content-type", b"").decode("latin-1")
    if not kind.startswith("application/x-ndjson"):
        raise CommandFailed(
            f"{client.server} does not take streams of jobs: it answered with "
            f"{kind or 'no content type'}",
            exit_code=ExitCode.UNREACHABLE,
        )


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing was heard of it for {SILENCE:g} s"
    if isinstance(error, h11.RemoteProtocolError):
        return "it closed the connection in the middle of its answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
