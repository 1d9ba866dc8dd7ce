"""``/api/v1/events``: changes as they happen, as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from tocsin.api.auth import scope_of
from tocsin.api.context import ApiContext
from tocsin.api.eventlog import TYPES, Visible, Wanted, words_to_types
from tocsin.api.needs import Need, needs
from tocsin.api.openapi import LAST_EVENT_ID, answers, takes
from tocsin.api.parameters import EventParameters
from tocsin.api.problems import Refused
from tocsin.domain.access import Action
from tocsin.domain.errors import InvalidInput, StoreError, TocsinError
from tocsin.services.scope import Scope

RECHECKED = 2.0
"""Seconds after which it is looked again whether a reader still may read."""

SEND_TIMEOUT = 30.0
"""Seconds that a reader may leave a write waiting before it is dropped."""


class EventStream(Response):
    """Sends what a generator yields, until it ends, the reader leaves, or it reads too slowly."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None] | None = None,
        *,
        may_go_on: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._may_go_on = may_go_on

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the stream."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        pump = asyncio.create_task(self._pump(send))
        tasks = [pump, asyncio.create_task(_disconnected(receive))]
        forbidden = None
        if self._may_go_on is not None:
            forbidden = asyncio.create_task(_forbidden(self._may_go_on))
            tasks.append(forbidden)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if done == {forbidden}:
            with suppress(TimeoutError):
                await _end(send)

    async def _pump(self, send: Send) -> None:
        if self._events is None:
            return
        try:
            async for chunk in self._events:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await _end(send)
        except TimeoutError:
            return
        finally:
            await self._events.aclose()


async def _end(send: Send) -> None:
    async with asyncio.timeout(SEND_TIMEOUT):
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _forbidden(may_go_on: Callable[[], Awaitable[bool]]) -> None:
    while await may_go_on():  # noqa: ASYNC110  # others change it, on other nodes
        await asyncio.sleep(RECHECKED)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def add_routes(app: FastAPI, context: ApiContext) -> None:
    """Add the stream of events."""
    need = Need(action=Action.READ)

    async def may_go_on(request: Request) -> bool:
        try:
            await context.gate.admit(request, need)
        except StoreError:
            return True  # nobody knows; what is to be told comes from the store too
        except (Refused, TocsinError):
            return False
        return True

    def visible_to(scope: Scope) -> Visible | None:
        if scope.whole:
            return None

        async def visible(ids: Sequence[str]) -> Collection[str]:
            return await context.jobs.within(scope).visible(ids)

        return visible

    @app.get(
        "/api/v1/events",
        status_code=200,
        tags=["system"],
        summary="Changes of jobs and executions as they happen (server-sent events)",
        description="Goes on after `Last-Event-ID`. Where that event is not known any more, the "
        "first event is `reset`: read again what you show, and go on from here.\n\n"
        f"Types: {', '.join(f'`{one}`' for one in TYPES)}, `reset`.",
        operation_id="streamEvents",
        response_class=EventStream,
        responses=answers(200, None, "The stream; it does not end"),
        openapi_extra=takes(headers=[LAST_EVENT_ID]),
    )
    @needs(Action.READ)
    async def stream_events(request: Request, asked: EventParameters) -> Response:
        scope = scope_of(request)
        reader = None if scope.key is None else scope.key.id
        refusal = context.events.refusal(reader)
        if refusal is not None:
            raise Refused(
                503,
                "too_many_readers",
                f"events have as many readers as may be, {refusal}; try again later",
                headers={"Retry-After": "10"},
            )
        last_id = request.headers.get("last-event-id") or asked.last_event_id
        wanted = Wanted(
            types=_types(asked.types),
            job=asked.job,
            namespace=scope.namespace,
            visible=visible_to(scope),
            reader=reader,
        )
        return EventStream(
            context.events.read(last_id, wanted), may_go_on=lambda: may_go_on(request)
        )


def _types(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    try:
        return words_to_types([word.strip() for word in text.split(",")])
    except ValueError as error:
        raise InvalidInput.of(
            "types",
            f"{str(error)!r} is not one of job, execution, {', '.join(TYPES)}",
            "not_one_of",
        ) from None
