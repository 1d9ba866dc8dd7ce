"""The promises of the design, looked for in the receiver's log and in the rows.

Each check returns what it found broken. They use neither the planner nor the engine: which fire
times are called for is computed from the schedules alone.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.simulation.receiver import Call
from tests.simulation.state import Commit
from tests.simulation.world import World
from tocsin.domain.execution import (
    ErrorKind,
    Execution,
    Reason,
    State,
    TriggerKind,
    execution_id,
)
from tocsin.domain.instant import Millis
from tocsin.domain.job import DeliveryMode, Job, JobStatus, MisfirePolicy, Overlap
from tocsin.domain.planning import QUEUE_AT_MOST

Check = Callable[[World], Iterator[str]]


def check_all(world: World) -> None:
    """Run every check and note what is broken."""
    for check in CHECKS:
        world.violations.extend(f"{check.__name__}: {found}" for found in check(world))


# --- fire times -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a job's life with one definition, during which it was active."""

    job: Job
    first: Millis
    """The fire time that its timer started at."""
    planned_to: Millis | None
    """Where its timer stood at the end; ``None``: all was planned."""
    ended_at: Millis | None
    """When it was changed, by the wall clock of whoever decided it; ``None``: never."""


def segments(world: World, job_id: str) -> list[Segment]:
    """The life of a job, from the changes of its definition and where its timer stood then."""
    found: list[Segment] = []
    job: Job | None = None
    first: Millis | None = None
    timer: Millis | None = None
    for commit in world.commits:
        if commit.method == "claim":
            if job_id in commit.timers:
                after = commit.timers[job_id][1]
                timer = None if after is None else after.fire_at
            continue
        if job_id in commit.jobs or job_id in commit.timers:
            changed = world_job(commit, job_id)
            if job is not None and first is not None:
                # A change holds from when it was decided, however slow the store is. (A clock
                # that was set back does not set back ``updated_at``.)
                at = commit.now if changed is None else min(commit.now, changed.updated_at)
                found.append(Segment(job, first, timer, at))
            job = changed or job
            if job_id in commit.timers:
                after = commit.timers[job_id][1]
                timer = None if after is None else after.fire_at
            first = timer
    if job is not None and first is not None:
        found.append(Segment(job, first, timer, None))
    return found


def world_job(commit: Commit, job_id: str) -> Job | None:
    return commit.jobs[job_id][1] if job_id in commit.jobs else None


def fire_times(segment: Segment) -> Iterator[Millis]:
    """The fire times that must have come to something."""
    schedule = segment.job.spec.schedule
    fire_time = schedule.next_after(segment.first - 1)
    while fire_time is not None:
        planned = segment.planned_to is None or fire_time < segment.planned_to
        # What was due but not planned when somebody changed the job must not disappear either.
        overdue = segment.ended_at is not None and fire_time <= segment.ended_at
        if not (planned or overdue):
            return
        yield fire_time
        fire_time = schedule.next_after(fire_time)


def every_due_fire_time_is_covered_once(world: World) -> Iterator[str]:
    by_job: dict[str, list[Execution]] = defaultdict(list)
    for row in world.state.executions.values():
        if row.trigger is TriggerKind.SCHEDULE:
            by_job[row.job_id].append(row)
    for job_id, job in world.state.jobs.items():
        life = segments(world, job_id)
        wanted: dict[Millis, Segment] = {}
        for segment in life:
            for fire_time in fire_times(segment):
                wanted.setdefault(fire_time, segment)
        covered: Counter[Millis] = Counter()
        versions = {segment.job.version: segment for segment in life}
        for row in by_job[job_id]:
            if row.id != execution_id(job_id, row.fire_time):
                yield f"{row.id} is not the id of its fire"
            if row.skipped_until is None:
                covered[row.fire_time] += 1
                # (An ``at`` that passed while its job was paused is skipped when it is resumed.)
                if row.fire_time not in wanted and row.reason is not Reason.PAUSED:
                    yield f"{job.name}: {row.fire_time} was never called for: {row}"
                continue
            if row.state is not State.SKIPPED:
                yield f"{job.name}: a range that is {row.state}: {row}"
            stretch = versions.get(row.job_version)
            if stretch is None:
                yield f"{job.name}: a range of version {row.job_version}, which never fired"
                continue
            inside = []
            schedule = stretch.job.spec.schedule
            at = schedule.next_after(row.fire_time - 1)
            while at is not None and at <= row.skipped_until:
                inside.append(at)
                at = schedule.next_after(at)
            covered.update(inside)
            if row.skipped_count != len(inside):
                yield f"{job.name}: {row.skipped_count} counted, {len(inside)} inside: {row}"
        for fire_time, segment in wanted.items():
            if covered[fire_time] != 1:
                yield (
                    f"{job.name} v{segment.job.version}: {fire_time} "
                    f"is covered {covered[fire_time]} times"
                )


def every_execution_ends(world: World) -> Iterator[str]:
    for row in world.state.executions.values():
        if not row.state.final:
            yield f"{row}"
        elif row.finished_at is None:
            yield f"without its end: {row}"


# --- calls ----------------------------------------------------------------------------------------


def calls_by_execution(world: World) -> dict[str, list[Call]]:
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in world.receiver.calls:
        calls[call.execution_id].append(call)
    return calls


def lost_its_lease(world: World, call: Call, by: float) -> bool:
    """Whether the node that made a call had died or was revoked by a time."""
    died = call.process.died_at is not None and call.process.died_at <= by
    ended_at = world.incarnations[call.incarnation].ended_at
    return died or (ended_at is not None and ended_at <= by)


def attempts_repeat_only_where_a_node_was_lost(world: World) -> Iterator[str]:
    for one, calls in calls_by_execution(world).items():
        last: Call | None = None
        for call in calls:
            if last is not None:
                # (A jump of the clock ends leases that their nodes still believe in.)
                late = world.jumped and lost_its_lease(world, call, call.left_at)
                if call.number < last.number and not late:
                    yield f"{one}: attempt {call.number} after {last.number}"
                lost = world.jumped and lost_its_lease(world, last, call.left_at)
                if call.number == last.number and not (late or lost):
                    yield f"{one}: attempt {call.number} twice"
                if last.over_at > call.left_at and not lost_its_lease(world, last, call.left_at):
                    yield f"{one}: attempts {last.number} and {call.number} at the same time"
            last = call


def every_attempt_is_a_call_and_every_call_an_attempt(world: World) -> Iterator[str]:
    calls = calls_by_execution(world)
    for one, row in world.state.executions.items():
        numbers = [attempt.number for attempt in row.attempts]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{one}: attempts are numbered {numbers}"
        for attempt in row.attempts:
            if attempt.error_kind is ErrorKind.LOST:
                continue
            made = [
                call
                for call in calls[one]
                if call.number == attempt.number
                and call.process.name == attempt.node
                and call.left_wall == attempt.started_at
            ]
            if not made:
                yield f"{one}: an attempt that nobody made: {attempt}"
        for call in calls[one]:
            if call.number > len(row.attempts) and not (
                # A revoked or dead node's call of an execution that others had ended meanwhile.
                lost_its_lease(world, call, float("inf")) or row.state is State.CANCELLED
            ):
                yield f"{one}: attempt {call.number} is not in the row"


def no_result_of_a_revoked_incarnation(world: World) -> Iterator[str]:
    """Each attempt was made under the incarnation that stored it, while that had its row."""
    calls = {
        (call.execution_id, call.number, call.process.name, call.left_wall): call
        for call in world.receiver.calls
    }
    for commit in world.commits:
        if commit.method != "record":
            continue
        for one, (old, row) in commit.executions.items():
            if row is None or old is None or len(row.attempts) <= len(old.attempts):
                continue
            last = row.attempts[-1]
            if last.error_kind is ErrorKind.LOST:
                continue
            call = calls.get((one, last.number, last.node, last.started_at))
            if call is None:
                continue  # reported elsewhere
            ended_at = world.incarnations[call.incarnation].ended_at
            if call.incarnation != commit.incarnation:
                yield f"{one}: made by {call.incarnation}, stored by {commit.incarnation}"
            if ended_at is not None and ended_at < commit.at:
                yield f"{one}: stored {commit.at - ended_at:.3f} s after {call.incarnation} ended"
            if old.owner != call.incarnation:
                yield f"{one}: stored by {call.incarnation} although {old.owner} owned it"


def no_call_after_the_end(world: World) -> Iterator[str]:
    """... except by a node that could not know.

    What it had heard by news is checked when the call leaves; what it ended itself it knows; and
    it re-reads what it owns again and again.
    """
    for one, calls in calls_by_execution(world).items():
        over_at, commit = ended(world, one)
        for call in calls:
            if call.left_at <= over_at:
                continue
            if lost_its_lease(world, call, call.left_at):
                continue
            own = commit.process is call.process and commit.method == "record"
            if own or call.left_at > over_at + KNOWS_WITHIN:
                yield f"{one}: attempt {call.number} left {call.left_at - over_at:.3f} s after it"


KNOWS_WITHIN = 60.0
"""Seconds after which every living node knows what it owns: adoption, and the longest trouble."""


def ended(world: World, execution: str) -> tuple[float, Commit]:
    """When an execution was stored as ended, and by what."""
    for commit, row in world.history[execution]:
        if row.state.final:
            return commit.at, commit
    return float("inf"), world.history[execution][-1][0]


def at_most_once_means_once(world: World) -> Iterator[str]:
    careful = always(world, lambda job: job.spec.delivery is DeliveryMode.AT_MOST_ONCE)
    for one, calls in calls_by_execution(world).items():
        arrived = [call for call in calls if call.arrived_at is not None]
        if calls[0].job_id in careful and len(arrived) > 1:
            yield f"{one} arrived {len(arrived)} times"


def always(world: World, what: Callable[[Job], bool]) -> set[str]:
    """Jobs of which every definition was such."""
    return {
        job_id
        for job_id, versions in world.definitions.items()
        if all(what(job) for _, job in versions)
    }


# --- overlap --------------------------------------------------------------------------------------


def calls_of_a_job_do_not_overlap(world: World) -> Iterator[str]:
    """With skip and queue, while no node was lost and nobody cancelled what was running."""
    careful = always(world, lambda job: job.spec.overlap in {Overlap.SKIP, Overlap.QUEUE})
    by_job: dict[str, list[Call]] = defaultdict(list)
    for call in world.receiver.calls:
        if call.job_id in careful:
            by_job[call.job_id].append(call)
    for job_id, calls in by_job.items():
        under_way: list[Call] = []
        for call in calls:
            under_way = [one for one in under_way if one.over_at > call.left_at]
            for other in under_way:
                row = world.state.executions[other.execution_id]
                over_at, _ = ended(world, other.execution_id)
                cancelled = row.state is State.CANCELLED and over_at <= call.left_at
                if not (cancelled or lost_its_lease(world, other, call.left_at)):
                    yield (
                        f"{world.state.jobs[job_id].name}: {call.execution_id} "
                        f"called at {call.left_at:.3f} while {other.execution_id} is under way"
                    )
            under_way.append(call)


def skipped_only_while_another_lives(world: World) -> Iterator[str]:
    for one, row in world.state.executions.items():
        if row.state is not State.SKIPPED or row.reason is not Reason.OVERLAP:
            continue
        commit, _ = world.history[one][0]
        others = [
            other
            for other, changes in world.history.items()
            if other != one
            and changes[0][1].job_id == row.job_id
            and changes[0][0].at <= commit.at <= ended(world, other)[0]
            and changes[0][1].state is not State.SKIPPED
        ]
        if not others:
            yield f"{one} was skipped although nothing else was live"


def queues_are_short_and_in_order(world: World) -> Iterator[str]:
    waiting: dict[str, set[str]] = defaultdict(set)
    for commit in world.commits:
        for one, (_, row) in commit.executions.items():
            if row is None:
                continue
            if row.queued and row.state is State.PENDING:
                waiting[row.job_id].add(one)
            else:
                waiting[row.job_id].discard(one)
            if len(waiting[row.job_id]) > QUEUE_AT_MOST:
                yield f"{len(waiting[row.job_id])} wait for {row.job_name} at {commit.at:.3f}"
    careful = always(world, lambda job: job.spec.overlap is Overlap.QUEUE)
    by_job: dict[str, list[Call]] = defaultdict(list)
    for call in world.receiver.calls:
        if call.job_id in careful and call.number == 1:
            by_job[call.job_id].append(call)
    for calls in by_job.values():
        called: set[str] = set()
        for call in calls:
            called.add(call.execution_id)
            for other, changes in world.history.items():
                first, row = changes[0]
                if (
                    row.job_id == call.job_id
                    and other < call.execution_id
                    and other not in called
                    and row.live
                    and first.at < created_at(world, call.execution_id)
                    and ended(world, other)[0] > call.left_at
                ):
                    yield f"{call.execution_id} is called before {other}, which is older"


def created_at(world: World, execution: str) -> float:
    return world.history[execution][0][0].at


# --- misfires -------------------------------------------------------------------------------------


def misfires_follow_their_policy(world: World) -> Iterator[str]:
    """Of what a claim noticed too late, no more runs than the policy says."""
    for commit in world.commits:
        if commit.method != "claim":
            continue
        late: dict[str, list[Execution]] = defaultdict(list)
        for old, row in commit.executions.values():
            if old is not None or row is None or row.trigger is not TriggerKind.SCHEDULE:
                continue
            job = definition(world, row.job_id, row.job_version)
            grace = job.spec.misfire.grace
            if grace is None:
                grace = job.spec.schedule.default_grace(row.fire_time)
            missed = 0 < commit.now - row.due > grace
            if row.state is State.SKIPPED and row.reason is Reason.MISFIRE and not missed:
                yield f"{row.id} is skipped as a misfire within its grace"
            elif row.state is not State.SKIPPED and missed:
                late[row.job_id].append(row)
        for job_id, rows in late.items():
            misfire = definition(world, job_id, rows[0].job_version).spec.misfire
            most = {
                MisfirePolicy.LATEST: 1,
                MisfirePolicy.ALL: misfire.max,
                MisfirePolicy.SKIP: 0,
            }[misfire.policy]
            if len(rows) > most:
                yield f"{len(rows)} misfires of {rows[0].job_name} run at once, {most} may"


def definition(world: World, job_id: str, version: int) -> Job:
    for _, job in world.definitions[job_id]:
        if job.version == version:
            return job
    raise AssertionError(f"no version {version} of {job_id}")


# --- the rest -------------------------------------------------------------------------------------


def states_have_their_reasons(world: World) -> Iterator[str]:
    for one, row in world.state.executions.items():
        match row.state:
            case State.SUCCEEDED:
                good = bool(row.attempts) and row.attempts[-1].error_kind is None
            case State.FAILED:
                good = bool(row.attempts) and row.attempts[-1].error_kind is not None
            case State.CANCELLED | State.SKIPPED:
                good = row.reason is not None
            case _:
                good = True
        if not good:
            yield f"{one} is {row.state} with {row.reason} and {row.attempts}"


def jobs_without_fires_are_completed(world: World) -> Iterator[str]:
    for job_id, job in world.state.jobs.items():
        if job.status is JobStatus.ACTIVE and job_id not in world.state.timers:
            yield f"{job.name} is active but has no timer"
        if job.status is not JobStatus.ACTIVE and job_id in world.state.timers:
            yield f"{job.name} is {job.status} but has a timer"


def calm_worlds_are_on_time(world: World) -> Iterator[str]:
    """Where nothing went wrong, first calls leave at their instant."""
    if not world.calm or world.faults.ever:
        return
    for call in world.receiver.calls:
        row = world.state.executions[call.execution_id]
        if call.number != 1 or row.trigger is not TriggerKind.SCHEDULE:
            continue
        first = world.history[call.execution_id][0][1]
        # Where the store has a clock it is the true one; elsewhere there is only the node's own.
        left_at = world.instant(call.left_at) if world.store_clock else call.left_wall
        late = left_at - row.due
        if not first.queued and late > (40 if row.exact else 20):
            yield f"{call.execution_id} leaves {late} ms late"


CHECKS: tuple[Check, ...] = (
    every_due_fire_time_is_covered_once,
    every_execution_ends,
    attempts_repeat_only_where_a_node_was_lost,
    every_attempt_is_a_call_and_every_call_an_attempt,
    no_result_of_a_revoked_incarnation,
    no_call_after_the_end,
    at_most_once_means_once,
    calls_of_a_job_do_not_overlap,
    skipped_only_while_another_lives,
    queues_are_short_and_in_order,
    misfires_follow_their_policy,
    states_have_their_reasons,
    jobs_without_fires_are_completed,
    calm_worlds_are_on_time,
)
