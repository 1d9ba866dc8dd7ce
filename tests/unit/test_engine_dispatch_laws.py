"""Whatever happens to claims and calls, in whatever order: no slot and no claim gets lost."""

import asyncio
from contextlib import suppress
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.support.build import NOW, every
from tests.support.engine_lab import Bench, claim, play, target_job, turns, with_version
from tests.support.scale import examples

from tocsin.domain.job import DeliveryMode, HttpTarget, JobStatus

ORIGINS = ("http://one.example", "http://two.example")

MOVES = st.sampled_from(
    [
        *["hold"] * 6,
        *["succeed"] * 4,
        *["abort", "pause", "move", "turn"] * 2,
        *["fail", "not_sent", "lapse", "renew", "abandon", "store", "wait"],
    ]
)


@examples(300)
@given(
    express=st.booleans(),
    max_in_flight=st.sampled_from([3, 8, 20]),
    max_per_lane=st.sampled_from([2, 5]),
    max_per_job=st.sampled_from([1, 2]),
    eager=st.sampled_from([1, 3, 64]),
    moves=st.lists(st.tuples(MOVES, st.integers(0, 99)), min_size=20, max_size=80),
)
def test_no_slot_and_no_claim_gets_lost(
    express: bool,
    max_in_flight: int,
    max_per_lane: int,
    max_per_job: int,
    eager: int,
    moves: list[tuple[str, int]],
) -> None:
    async def story() -> None:
        bench = Bench(
            express=express,
            max_in_flight=max_in_flight,
            max_per_lane=max_per_lane,
            max_per_job=max_per_job,
            eager=eager,
        )
        bench.begin()
        chances = _Chances(bench)
        for move, chance in moves:
            await chances.take(move, chance)
            lanes = bench.dispatcher._lanes
            under_way = len(bench.dispatcher._under_way)
            assert under_way == lanes.in_flight <= max_in_flight
            assert under_way == sum(lanes._calling.values()) == sum(lanes._calling_of_job.values())
        await chances.take("wait", 0)
        for _ in range(200):
            for execution_id in chances.under_way:
                chances.end(bench.caller.succeed, execution_id)
            await chances.take("store", 0)
            await turns()
        assert bench.empty
        assert not bench.dispatcher._lanes._set_aside

    play(story)


class _Chances:
    """What may happen; a number from 0 to 99 says to which of those that it may happen to."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._count = 0
        self._jobs = [
            target_job("one", ORIGINS[0], schedule=every(60_000)),
            target_job("two", ORIGINS[1], schedule=every(60_000)),
            target_job("exact", ORIGINS[0], delivery=DeliveryMode.AT_MOST_ONCE),
        ]

    @property
    def under_way(self) -> list[str]:
        return list(self._bench.caller._ends)

    def end(self, how: object, execution_id: str) -> None:
        with suppress(asyncio.InvalidStateError):  # its task was cancelled, and has not run yet
            how(execution_id)  # type: ignore[operator]

    async def take(self, move: str, chance: int) -> None:
        bench, dispatcher, which = self._bench, self._bench.dispatcher, chance % 3
        calls = self.under_way
        held = [one.claim.execution.id for one in dispatcher._claims.all()]
        match move:
            case "hold":
                claims = []
                for number in range(1 + chance % 4):
                    self._count += 1
                    due = NOW + 5 * (number % 2)
                    claims.append(claim(self._jobs[which], due, salt=str(self._count)))
                dispatcher.hold(claims)
                dispatcher.turn_away([one for one in claims if one.execution.exact])
            case "succeed" if calls:
                self.end(bench.caller.succeed, calls[chance % len(calls)])
            case "fail" if calls:
                self.end(bench.caller.fail, calls[chance % len(calls)])
            case "not_sent" if calls and not bench.caller._express:
                bench.clock.pass_by(5_000)
                self.end(bench.caller.not_started, calls[chance % len(calls)])
                await turns()
            case "abort" if held:
                dispatcher.abort([held[chance % len(held)]])
            case "pause" | "move":
                job = self._jobs[which]
                job = with_version(job, job.version + 1)
                if move == "move":
                    target = HttpTarget(url=f"{ORIGINS[chance % 2]}/")
                    job = replace(job, spec=replace(job.spec, target=target))
                self._jobs[which] = job
                paused = JobStatus.PAUSED if move == "pause" else job.status
                dispatcher.revise([replace(job, status=paused)])
            case "turn":
                await turns(1 + chance % 3)
            case "lapse":
                bench.clock.pass_by(5_000)
            case "renew" | "wait":
                bench.clock.pass_by(10 if move == "wait" else 0)
                bench.lease.renewed(bench.clock.monotonic())
                dispatcher.pump()
            case "abandon":
                dispatcher.abandon()
            case "store":
                dispatcher.forget([one.id for one in bench.results])
                bench.results.clear()
            case _:
                pass
