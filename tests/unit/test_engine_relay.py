"""The news between nodes: bounded messages, the important first, and no echo."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import build

from tocsin.domain.execution import Attempt, ErrorKind, Execution, State
from tocsin.domain.job import Job
from tocsin.engine import relay as relay_module
from tocsin.engine.relay import MAX_WAITING, WANT_LASTS, Relay
from tocsin.engine.relay_codec import (
    MAX_ERROR,
    MAX_MESSAGE,
    DueTold,
    ExecutionTold,
    Item,
    JobTold,
    LostTold,
    WantTold,
    decode,
    encode_item,
    head_of,
    whole,
)
from tocsin.store.bus import (
    Bus,
    CallsStarted,
    ExecutionsChanged,
    JobsChanged,
    News,
    NewsLost,
    WorkDue,
)

JOB = build.job("report")
instants = st.integers(0, 2**47)
texts = st.text(st.characters(codec="utf-8"), max_size=MAX_ERROR)


@st.composite
def executions(draw: st.DrawFn) -> Execution:
    """Executions as events show them: nothing else is told."""
    count = draw(st.integers(0, 4))
    last = Attempt(
        number=count,
        started_at=draw(instants),
        duration_ms=draw(st.floats(0, 1e9)),
        http_status=draw(st.none() | st.integers(100, 599)),
        error_kind=draw(st.none() | st.sampled_from(ErrorKind)),
        error=draw(st.none() | texts),
        node=draw(texts.filter(bool)),
    )
    first = Attempt(number=1, started_at=draw(instants), duration_ms=0.0, node=last.node)
    return replace(
        build.execution(JOB, draw(instants)),
        job_version=0,
        lane=0,
        exact=False,
        state=draw(st.sampled_from(State)),
        owner=draw(st.none() | st.uuids().map(str)),
        available_at=draw(st.none() | instants),
        finished_at=draw(st.none() | instants),
        attempts=(*[first] * (count - 1), last) if count else (),
    )


items = st.one_of(
    st.builds(JobTold, st.sampled_from(["paused", "updated"]), texts, st.integers(1, 10**9)),
    st.builds(ExecutionTold, executions(), st.booleans()),
    st.builds(DueTold, instants),
    st.builds(LostTold, st.integers(1, 10**9)),
    st.just(WantTold()),
)


@given(told=st.lists(items, max_size=8))
def test_round_trip(told: list[Item]) -> None:
    message = whole(head_of("me", 7), [encode_item(item) for item in told])
    back = decode(message)
    assert (back.sender, back.number, list(back.items)) == ("me", 7, told)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_rubbish_is_refused_and_nothing_else(message: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(message)


@pytest.mark.parametrize(
    "news",
    ['["run",true,1,2]', "7", "[]", '[["due"]]', '{"a":1}'],
)
def test_items_of_another_shape_are_refused(news: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(f'{{"from":"x","n":1,"news":[{news}]}}'.encode())


def test_kinds_of_a_later_version_are_passed_over() -> None:
    message = b'{"from":"x","n":1,"news":[["moon",1],["due",5]],"more":1}'
    assert list(decode(message).items) == [DueTold(5)]


def test_half_a_surrogate_and_a_long_error_can_be_told() -> None:
    attempt = build.failed_attempt(error="\ud800" + "\0" * 10_000)
    encoded = encode_item(ExecutionTold(build.execution(JOB, attempts=(attempt,)), started=False))
    assert len(encoded) < MAX_MESSAGE
    assert b"\0" not in encoded


# --- the relay ----------------------------------------------------------------------------------


class Wire:
    """A transport to one other relay."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.other: Relay | None = None
        self.fails = False
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def send(self, message: bytes) -> None:
        if self.fails:
            raise OSError("cut")
        await self.is_open.wait()
        self.sent.append(message)
        if self.other is not None:
            self.other.receive(message)


class Side:
    """A relay with its bus and what was heard there."""

    def __init__(
        self, jobs: dict[str, Job] | None = None, *, started: bool = False, **options: Any
    ) -> None:
        self.now = 100.0
        self.jobs = {} if jobs is None else jobs
        self.bus = Bus()
        self.wire = Wire()
        self.heard: list[News] = []
        self.relay = Relay(
            bus=self.bus,
            transport=self.wire,
            read_jobs=self._read,
            own=lambda: "me",
            monotonic=lambda: self.now,
            **options,
        )
        self.bus.listen(self.heard.append)
        if not started:
            self.bus.listen(self.relay._hear)

    async def _read(self, ids: Sequence[str]) -> dict[str, Job]:
        return {one: self.jobs[one] for one in ids if one in self.jobs}

    def unwanted(self) -> None:
        """Let the time pass in which others might still say that they want to hear all."""
        self.now += WANT_LASTS + 1

    def told(self) -> list[list[Item]]:
        """What would be sent now, by message."""
        found = []
        while (message := self.relay.next_message()) is not None:
            assert len(message) <= MAX_MESSAGE
            found.append(list(decode(message).items))
        return found


def ended(number: int = 0, **fields: Any) -> Execution:
    return build.execution(
        JOB, build.NOW + number, **{"state": State.SUCCEEDED, "owner": "me", **fields}
    )


async def test_no_word_of_a_fire_where_nobody_reads() -> None:
    side = Side()
    side.unwanted()
    side.bus.publish(CallsStarted(executions=(ended(),)))
    side.bus.publish(ExecutionsChanged(executions=[ended()]))
    side.bus.publish(JobsChanged(change="created", jobs=[JOB]))
    assert side.told() == []


async def test_all_is_told_while_somebody_reads_elsewhere() -> None:
    reader, side = Side(), Side()
    side.unwanted()
    reader.relay.want()
    assert reader.heard == [NewsLost(count=None)], "what came before was not told here"
    message = reader.relay.next_message()
    assert message is not None
    side.relay.receive(message)
    side.bus.publish(CallsStarted(executions=(ended(),)))
    side.bus.publish(ExecutionsChanged(executions=[ended()]))
    side.bus.publish(JobsChanged(change="created", jobs=[JOB]))
    ((first, second, third),) = side.told()
    assert isinstance(first, ExecutionTold)
    assert isinstance(second, ExecutionTold)
    assert (first.started, second.started) == (True, False)
    assert third == JobTold("created", JOB.id, JOB.version)


async def test_a_node_that_stood_still_knows_that_it_was_not_told_of_all() -> None:
    reader = Side()
    reader.relay.want()
    reader.told()
    reader.heard.clear()
    for stood_still, lost in ((relay_module.WANT_EVERY, []), (WANT_LASTS, [NewsLost(count=None)])):
        reader.now += stood_still
        reader.relay._go_on_wanting()
        assert reader.heard == lost
        assert reader.told() == [[WantTold()]]


async def test_important_news_goes_first_and_is_never_left_out() -> None:
    side = Side()
    side.bus.publish(ExecutionsChanged(executions=[ended(n) for n in range(MAX_WAITING + 50)]))
    others = ended(1, state=State.CANCELLED, owner="somebody")
    side.bus.publish(ExecutionsChanged(executions=[others]))
    side.bus.publish(JobsChanged(change="paused", jobs=[JOB], due_at=5))
    messages = side.told()
    due, lost, cancelled, paused, *_ = messages[0]
    assert due == DueTold(5)
    assert lost == LostTold(50)
    assert isinstance(cancelled, ExecutionTold)
    assert cancelled.execution.id == others.id
    assert paused == JobTold("paused", JOB.id, JOB.version)
    assert sum(len(items) for items in messages) == MAX_WAITING + 4
    assert len(messages) > 10


async def test_pending_executions_are_one_hint_at_the_earliest() -> None:
    side = Side()
    side.unwanted()
    waiting = [
        build.execution(JOB, build.NOW + n, state=State.PENDING, available_at=build.NOW + 100 - n)
        for n in range(10)
    ]
    side.bus.publish(ExecutionsChanged(executions=waiting))
    assert side.told() == [[DueTold(build.NOW + 91)]]


async def test_what_is_given_back_is_a_hint() -> None:
    side = Side()
    side.unwanted()
    side.bus.publish(WorkDue(at=build.NOW + 5))
    assert side.told() == [[DueTold(build.NOW + 5)]]


async def test_an_item_too_large_for_any_message_is_counted() -> None:
    side = Side()
    side.bus.publish(JobsChanged(change="x" * MAX_MESSAGE, jobs=[JOB]))
    side.bus.publish(JobsChanged(change="paused", jobs=[JOB]))
    flat = [item for items in side.told() for item in items]
    assert JobTold("paused", JOB.id, JOB.version) in flat
    assert LostTold(1) in flat


async def test_from_bus_to_bus_without_an_echo() -> None:
    paused = build.job("paused-one")
    here, there = Side(started=True), Side({paused.id: paused}, started=True)
    here.wire.other, there.wire.other = there.relay, here.relay
    await here.relay.start()
    await there.relay.start()
    there.relay.want()
    while not there.wire.sent:
        await asyncio.sleep(0.005)
    there.heard.clear()
    there.wire.sent.clear()
    try:
        one = ended(state=State.CANCELLED, owner="you")
        here.bus.publish(ExecutionsChanged(executions=[one]))
        here.bus.publish(CallsStarted(executions=(one,)))
        here.bus.publish(JobsChanged(change="paused", jobs=[paused], due_at=build.NOW))
        async with asyncio.timeout(60):
            while len(there.heard) < 4:
                await asyncio.sleep(0.005)
        assert [type(news) for news in there.heard] == [
            WorkDue,
            ExecutionsChanged,
            CallsStarted,
            JobsChanged,
        ]
        changed = there.heard[-1]
        assert isinstance(changed, JobsChanged)
        assert (changed.change, changed.jobs) == ("paused", [paused])
        await asyncio.sleep(3 * relay_module.GATHER)
        assert there.wire.sent == []
        assert len(here.heard) == 3
    finally:
        await here.relay.stop()
        await there.relay.stop()


async def test_a_job_is_read_again_until_the_change_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "READ_AGAIN", 0.001)
    old = build.job("late")
    new = replace(old, version=old.version + 1)
    side = Side({old.id: old}, started=True)
    await side.relay.start()
    try:
        told = encode_item(JobTold("updated", new.id, new.version))
        side.relay.receive(whole(head_of("other", 1), [told]))
        await asyncio.sleep(0.005)
        assert side.heard == []
        side.jobs[new.id] = new
        async with asyncio.timeout(60):
            while not side.heard:
                await asyncio.sleep(0.001)
        assert side.heard == [JobsChanged(change="updated", jobs=[new])]
    finally:
        await side.relay.stop()


async def test_gaps_are_noticed_and_own_messages_ignored() -> None:
    here, there = Side(), Side()
    messages = []
    for number in range(4):
        here.bus.publish(JobsChanged(change="updated", jobs=[], due_at=number))
        messages.append(here.relay.next_message())
    for index in (0, 1, 3):
        message = messages[index]
        assert message is not None
        there.relay.receive(message)
        here.relay.receive(message)
    assert there.heard == [WorkDue(at=0), WorkDue(at=1), NewsLost(count=None), WorkDue(at=3)]
    assert not any(isinstance(news, WorkDue) for news in here.heard)
    there.relay.receive(b"rubbish")


async def test_a_transport_that_fails_loses_only_messages() -> None:
    here, there = Side(started=True), Side()
    here.wire.other = there.relay
    await here.relay.start()
    try:
        here.wire.fails = True
        here.bus.publish(JobsChanged(change="updated", jobs=[], due_at=1))
        while not here.relay._failed:
            await asyncio.sleep(0.005)
        here.wire.fails = False
        here.bus.publish(JobsChanged(change="updated", jobs=[], due_at=2))
        async with asyncio.timeout(60):
            while not there.heard:
                await asyncio.sleep(0.005)
        assert there.heard == [WorkDue(at=2)]
    finally:
        await here.relay.stop()


async def test_an_end_waits_for_the_message_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "LAST_WORDS", 60)
    side = Side(started=True)
    side.wire.is_open.clear()
    await side.relay.start()
    side.bus.publish(WorkDue(at=build.NOW))
    while side.relay._due is not None:
        await asyncio.sleep(0.005)
    ending = asyncio.create_task(side.relay.stop())
    await asyncio.sleep(0.01)
    assert not ending.done()
    assert side.wire.sent == []
    side.wire.is_open.set()
    await ending
    assert [list(decode(message).items) for message in side.wire.sent] == [[DueTold(build.NOW)]]


async def test_an_end_does_not_wait_for_a_transport_that_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "LAST_WORDS", 0.05)
    side = Side(started=True)
    side.wire.is_open.clear()
    await side.relay.start()
    side.bus.publish(WorkDue(at=build.NOW))
    async with asyncio.timeout(60):
        await side.relay.stop()


async def test_where_nobody_reads_only_what_the_node_had_in_hands_is_taken() -> None:
    side = Side()
    others, own = ended(0, owner="other"), ended(1, owner="me")
    message = whole(
        head_of("it", 1),
        [
            encode_item(ExecutionTold(others, started=True)),
            encode_item(ExecutionTold(others, started=False)),
            encode_item(ExecutionTold(own, started=False)),
            encode_item(DueTold(5)),
        ],
    )
    side.relay.receive(message)
    assert [type(news) for news in side.heard] == [ExecutionsChanged, WorkDue]
    changed = side.heard[0]
    assert isinstance(changed, ExecutionsChanged)
    assert [one.id for one in changed.executions] == [own.id]
    side.relay.want()
    side.heard.clear()
    side.relay.receive(message)
    assert [type(news) for news in side.heard] == [CallsStarted, ExecutionsChanged, WorkDue]


async def test_that_news_was_left_out_is_said_once_in_a_second() -> None:
    side = Side()
    crowd = [ended(number) for number in range(MAX_WAITING + 10)]
    lost = []
    for _ in range(5):
        side.bus.publish(ExecutionsChanged(executions=crowd))
        lost += [item.count for items in side.told() for item in items if type(item) is LostTold]
    assert lost == [10]
    side.now += relay_module.LOST_EVERY
    assert side.told() == [[LostTold(40)]]


async def test_the_rate_is_bounded() -> None:
    side = Side(max_per_second=10)
    pauses = [side.relay._pause() for _ in range(4)]
    assert pauses == pytest.approx([0, 0.1, 0.2, 0.3])
    side.now += 1
    assert side.relay._pause() == 0
