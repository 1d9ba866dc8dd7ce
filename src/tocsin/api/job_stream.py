"""Jobs as lines of JSON: they are stored while more come in, and each is answered when it is.

What comes in, what is checked and waits, and what is being written are three stages side by side.
Each is bounded, and none reads on while the next is full: so a stream of any length takes the
memory of some thousand lines, and a client that does not read its answers is not read from.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tocsin.api.batching import batch_under_way
from tocsin.api.body import parse_line
from tocsin.api.job_lines import new_job_line, old_job_line
from tocsin.api.lines import Lines
from tocsin.api.openapi import NDJSON
from tocsin.api.problems import Refused, answer_to, of_error, problem
from tocsin.api.render import dumps
from tocsin.domain.errors import InvalidInput, StoreError
from tocsin.services.bulk import Fresh
from tocsin.services.job_stream import JobStream, Line, Outcome, Replayed
from tocsin.services.places import Places

MOST_LINES = 4_000
"""Lines that are stored in one transaction, and that wait meanwhile."""

MOST_BYTES = 4 * 1024 * 1024
"""The same in bytes, but for the last line."""

SLICE = 50
"""Lines that are checked, or answered, before other work has its turn: about 1 ms."""

PIECE = 131_072
"""Bytes of answers that leave together: to send costs as much as some tens of jobs do otherwise."""

IDLE = 60.0
"""Seconds without the end of a line after which a stream is ended."""

SEND_TIMEOUT = 30.0
"""Seconds that a client may leave answers unread before it is hung up on."""

RECHECKED = 2.0
"""Seconds after which it is looked again whether the client still may create jobs."""

MOST_STREAMS = 16
"""Streams at the same time: that many times the memory of one."""

MOST_STREAMS_EACH = 8
"""Of these, with one key."""


class JobStreamAnswer(Response):
    """Reads the lines of a request, has their jobs stored, and says of each what came of it.

    The connection is closed at the end: where that comes early, there may be no end to what the
    client still sends.
    """

    def __init__(
        self,
        request: Request,
        jobs: JobStream,
        *,
        places: Places,
        holder: str | None,
        longest: int,
        may_go_on: Callable[[], Awaitable[Response | None]],
        refused_only: bool = False,
    ) -> None:
        """``holder`` is the id of the key; ``longest`` in bytes of a line.

        ``refused_only``: nothing is said of jobs as ordered.
        """
        headers = {"Connection": "close", "X-Accel-Buffering": "no"}
        if refused_only:
            headers["Preference-Applied"] = "return=minimal"
        super().__init__(None, 200, headers, NDJSON)
        del self.headers["content-length"]
        self._request = request
        self._jobs = jobs
        self._places = places
        self._holder = holder
        self._lines = Lines(longest)
        self._longest = longest
        self._may_go_on = may_go_on
        self._looked_at = time.monotonic()
        self._refused_only = refused_only
        self._waiting: list[Line] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._read_all = False
        self._why_no_more: Response | None = None
        """Why reading has stopped before the end."""
        self._why_ended: Response | None = None
        """Why nothing more is stored."""
        self._store_failed: Response | None = None
        self._begun = False
        self._counts = {"created": 0, "replayed": 0, "refused": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the whole stream, and answer it."""
        full = self._places.refusal(self._holder)
        if full is not None:
            refusal = problem(
                503,
                "too_many_streams",
                f"as many streams of jobs are being read as may be, {full}; try again later",
                headers={"Retry-After": "5", "Connection": "close"},
            )
            await refusal(scope, receive, send)
            return
        with self._places.take(self._holder):
            await self._take(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        reading = asyncio.create_task(self._read(receive), name="job-stream")
        try:
            await self._answer(scope["app"], send)
            if self._why_ended is None:
                await reading
            await self._end(send)
        except (_Gone, TimeoutError):
            return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    # --- coming in

    async def _read(self, receive: Receive) -> None:
        try:
            more, patience = True, self._patience()
            while more:
                async with asyncio.timeout_at(patience):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    # What waits was not promised to anybody.
                    self._waiting = []
                    raise _Gone
                found = self._lines.feed(message.get("body", b""))
                if found:
                    await self._check(found)
                    # Bytes that make no line do not keep a stream: its key may be revoked by now.
                    patience = self._patience()
                more = message.get("more_body", False)
            await self._check(self._lines.end())
        except TimeoutError:
            self._why_no_more = problem(
                408, "stream_idle", f"no line came for {IDLE:g} s; send the rest as another stream"
            )
        except StoreError as error:  # it was asked for secrets
            self._why_no_more = of_error(error)
        finally:
            self._read_all = True
            self._arrived.set()

    @staticmethod
    def _patience() -> float:
        """When the next line has to be there."""
        return asyncio.get_running_loop().time() + IDLE

    async def _check(self, found: Sequence[tuple[int, bytes | None]]) -> None:
        for start in range(0, len(found), SLICE):
            while len(self._waiting) >= MOST_LINES or self._bytes > MOST_BYTES:
                self._room.clear()
                await self._room.wait()
            part = found[start : start + SLICE]
            values: list[tuple[int, object]] = []
            refused: list[Line] = []
            for number, raw in part:
                try:
                    if raw is None:
                        raise self._too_long()
                    values.append((number, parse_line(raw)))
                except (Refused, InvalidInput) as error:
                    refused.append(Line(number=number, checked=error))
            checked = await self._jobs.check(values)
            if refused:
                checked = sorted([*checked, *refused], key=_number_of)
            self._waiting += checked
            self._bytes += sum(len(raw) for _, raw in part if raw is not None)
            self._arrived.set()
            await asyncio.sleep(0)

    def _too_long(self) -> Refused:
        return Refused(
            413,
            "payload_too_large",
            f"the line is larger than {self._longest:,} bytes; make it smaller, or raise the "
            "server's limit (TOCSIN_MAX_BODY)",
        )

    # --- going out

    async def _answer(self, app: FastAPI, send: Send) -> None:
        """Have stored what waits and say what came of it, until all is read or it cannot go on."""
        while await self._arrived.wait():
            with batch_under_way():
                # As long as one part follows the other.
                await self._answer_parts(app, send)
            if self._why_ended is not None or (self._read_all and not self._waiting):
                return

    async def _answer_parts(self, app: FastAPI, send: Send) -> None:
        """The same until nothing waits: one part is told of while the next is stored."""
        lines = await self._next()
        storing = asyncio.create_task(self._jobs.store(lines))
        try:
            while lines:
                told, outcomes = lines, await storing
                failed = any(isinstance(one, StoreError) for one in outcomes)
                lines = [] if failed else await self._next()
                storing = asyncio.create_task(self._jobs.store(lines))
                await self._tell(app, send, told, outcomes)
                self._why_ended = self._why_ended or self._store_failed
        finally:
            # Not cut off: who listens for new jobs is told of them once they are stored.
            await asyncio.wait({storing})

    async def _tell(
        self, app: FastAPI, send: Send, lines: Sequence[Line], outcomes: Sequence[Outcome]
    ) -> None:
        """Say what came of a part."""
        texts: list[bytes] = []
        size = 0
        for start in range(0, len(lines), SLICE):
            end = start + SLICE
            # Lets the next part on its way, too.
            await asyncio.sleep(0)
            text = await self._text(app, lines[start:end], outcomes[start:end])
            texts.append(text)
            size += len(text)
            if size >= PIECE:
                await self._send(send, b"".join(texts))
                texts, size = [], 0
        await self._send(send, b"".join(texts))

    async def _next(self) -> Sequence[Line]:
        """Take what waits; nothing where the client may not go on."""
        now = time.monotonic()
        if now - self._looked_at >= RECHECKED:
            self._looked_at = now
            self._why_ended = await self._may_go_on()
            if self._why_ended is not None:
                return []
        lines, self._waiting, self._bytes = self._waiting, [], 0
        self._room.set()
        if not self._read_all:
            self._arrived.clear()
        return lines

    async def _text(
        self, app: FastAPI, lines: Sequence[Line], outcomes: Sequence[Outcome]
    ) -> bytes:
        parts: list[str] = []
        counts, told = self._counts, not self._refused_only
        for line, outcome in zip(lines, outcomes, strict=True):
            if isinstance(outcome, Fresh):
                counts["created"] += 1
                if told:
                    parts.append(new_job_line(line.number, outcome))
            elif isinstance(outcome, Replayed):
                counts["replayed"] += 1
                if told:
                    parts.append(old_job_line(line.number, outcome.view))
            else:
                counts["refused"] += 1
                answer = await answer_to(app, self._request, outcome)
                if answer is None:
                    raise outcome
                if isinstance(outcome, StoreError):
                    self._store_failed = answer
                parts.append(
                    f'{{"line":{line.number},"status":{answer.status_code},'
                    f'"problem":{bytes(answer.body).decode()}}}\n'
                )
        return "".join(parts).encode()

    async def _end(self, send: Send) -> None:
        why = self._why_ended or self._why_no_more
        last = dumps({"complete": why is None, **self._counts})
        if why is not None:
            last = b'%b,"problem":%b}' % (last[:-1], bytes(why.body))
        await self._send(send, last + b"\n", more=False)

    async def _send(self, send: Send, text: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(SEND_TIMEOUT):
            if not self._begun:
                # Not before something was read: a client may wait to be asked for its body. But
                # with the first part: as long as nothing is answered, a body has to hurry.
                self._begun = True
                await send(
                    {
                        "type": "http.response.start",
                        "status": self.status_code,
                        "headers": self.raw_headers,
                    }
                )
            if text or not more:
                await send({"type": "http.response.body", "body": text, "more_body": more})


class _Gone(Exception):
    """The client has hung up."""


def _number_of(line: Line) -> int:
    return line.number
