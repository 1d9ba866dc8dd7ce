"""The port, part 2: lists of jobs, with their filters, sorts and pages."""

from collections.abc import Sequence

import pytest

from tests.support.build import (
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    at,
    cron,
    every,
    fail,
    job,
    log_job,
    succeed,
    timer,
)
from tests.support.drive import (
    add,
    change,
    claim,
    claim_one,
    delete,
    executions,
    jobs,
    join,
    record,
    rescue_all,
)
from tocsin.domain.errors import InvalidInput
from tocsin.domain.execution import Reason, State
from tocsin.domain.job import DeliveryMode, HttpTarget, JobStatus
from tocsin.domain.retry import RetryPolicy
from tocsin.store.port import JobQuery, JobSort, JobView, NewJob, Store


def names(views: Sequence[JobView]) -> list[str]:
    return [view.job.name for view in views]


# --- filters ------------------------------------------------------------------------------------


async def one_of_each_status(store: Store) -> None:
    await add(store, *(job(s, status=s) for s in JobStatus if s is not JobStatus.DELETED))
    gone = job("deleted")
    await add(store, gone)
    await delete(store, gone)


async def test_all_but_deleted_jobs_are_listed(store: Store) -> None:
    await one_of_each_status(store)
    assert names(await jobs(store)) == ["active", "cancelled", "completed", "paused"]


@pytest.mark.parametrize(
    "statuses",
    [
        (JobStatus.ACTIVE,),
        (JobStatus.DELETED,),
        (JobStatus.COMPLETED, JobStatus.PAUSED),
        tuple(JobStatus),
    ],
)
async def test_jobs_are_found_by_their_status(
    store: Store, statuses: tuple[JobStatus, ...]
) -> None:
    await one_of_each_status(store)
    assert names(await jobs(store, statuses=statuses)) == sorted(statuses)


async def test_a_list_shows_one_namespace(store: Store) -> None:
    await add(store, job("a"), job("b", namespace="ops"), job("c", namespace="ops"))
    assert names(await jobs(store)) == ["a"]
    assert names(await jobs(store, namespace="ops")) == ["b", "c"]
    assert names(await jobs(store, namespace="none")) == []


async def test_a_job_must_carry_each_tag(store: Store) -> None:
    await add(
        store,
        job("none"),
        job("red", tags=("red",)),
        job("both", tags=("blue", "red")),
        job("longer", tags=("redder", "blue")),
    )
    assert names(await jobs(store, tags=("red",))) == ["both", "red"]
    assert names(await jobs(store, tags=("red", "blue"))) == ["both"]
    assert names(await jobs(store, tags=("re",))) == []


async def test_a_tag_is_compared_as_it_is_written(store: Store) -> None:
    odd = ('quote"d', "per%cent", "under_score", "back\\slash", "ümlaut")
    await add(store, job("odd", tags=odd), job("plain", tags=("perXcent", "underXscore", "umlaut")))
    for tag in odd:
        assert names(await jobs(store, tags=(tag,))) == ["odd"], tag


async def test_tags_follow_a_change(store: Store) -> None:
    old = job("report", tags=("old",))
    await add(store, old)
    await change(store, old, tags=("new",))
    assert names(await jobs(store, tags=("old",))) == []
    assert names(await jobs(store, tags=("new",))) == ["report"]


@pytest.mark.parametrize(
    "text", ["nightly", "NIGHTLY", "ends th", "hooks.example", "x-path", "ght"]
)
async def test_text_is_looked_for_in_name_description_and_url(store: Store, text: str) -> None:
    await add(
        store,
        job(
            "nightly-report",
            description="Sends the Report",
            target=HttpTarget(url="https://Hooks.example/X-Path"),
        ),
        job("other"),
    )
    assert names(await jobs(store, text=text)) == ["nightly-report"]


async def test_text_is_looked_for_in_what_a_log_target_says(store: Store) -> None:
    await add(store, log_job("tick"), job("other"))
    assert names(await jobs(store, text="TICK")) == ["tick"]
    await add(store, log_job("reminder"))
    assert names(await jobs(store, text="tick")) == ["reminder", "tick"]


async def test_text_is_not_looked_for_elsewhere(store: Store) -> None:
    await add(
        store,
        job(
            "report",
            tags=("needle",),
            metadata={"needle": "needle"},
            target=HttpTarget(
                url="https://example.com", headers=(("needle", "needle"),), method="NEEDLE"
            ),
        ),
    )
    assert names(await jobs(store, text="needle")) == []


@pytest.mark.parametrize("text", ["100%", "a_b", "back\\slash", "it's", 'say "hi"', "*", "[a]"])
async def test_text_is_taken_literally(store: Store, text: str) -> None:
    await add(
        store,
        job("odd", description='100% a_b back\\slash it\'s say "hi" * [a]'),
        job("plain", description="100 percent aXb backslash its say hi"),
    )
    assert names(await jobs(store, text=text)) == ["odd"]


async def test_text_of_any_alphabet_is_found_whatever_the_case(store: Store) -> None:
    await add(store, job("german", description="Ärger"), job("greek", description="ΑΘΗΝΑ"))
    assert names(await jobs(store, text="ärger")) == ["german"]
    assert names(await jobs(store, text="ÄRGER")) == ["german"]
    assert names(await jobs(store, text="αθηνα")) == ["greek"]


async def test_text_does_not_reach_from_one_field_into_the_next(store: Store) -> None:
    await add(store, job("abc", description="def"))
    assert names(await jobs(store, text="abcdef")) == []
    assert names(await jobs(store, text="abc def")) == []


async def test_text_follows_a_change(store: Store) -> None:
    old = job("report", description="before")
    await add(store, old)
    await change(store, old, description="after")
    assert names(await jobs(store, text="before")) == []
    assert names(await jobs(store, text="after")) == ["report"]


async def test_jobs_are_found_by_the_kind_of_their_schedule(store: Store) -> None:
    await add(
        store,
        job("c", cron("0 2 * * *")),
        job("e", every(MINUTE)),
        job("a", at(NOW + MINUTE)),
    )
    assert names(await jobs(store, kind="cron")) == ["c"]
    assert names(await jobs(store, kind="every")) == ["e"]
    assert names(await jobs(store, kind="at")) == ["a"]


async def test_the_kind_follows_a_change(store: Store) -> None:
    old = job("a", at(NOW))
    await add(store, old)
    await change(store, old, schedule=every(HOUR))
    assert names(await jobs(store, kind="at")) == []
    assert names(await jobs(store, kind="every")) == ["a"]


async def test_jobs_are_found_by_their_last_result(store: Store) -> None:
    once = RetryPolicy(max_attempts=1)
    good, bad, new = job("good"), job("bad", retry=once), job("new", at(NOW + HOUR))
    await add(store, good, bad, new)
    await join(store)
    for claimed in (await claim(store)).claims:
        made = succeed if claimed.job.name == "good" else fail
        await record(store, made(claimed, NOW))
    assert names(await jobs(store, last_state=State.SUCCEEDED)) == ["good"]
    assert names(await jobs(store, last_state=State.FAILED)) == ["bad"]


async def test_the_last_result_is_the_one_that_was_recorded_last(store: Store) -> None:
    of = job("report", every(MINUTE), retry=RetryPolicy(max_attempts=1))
    await add(store, of)
    await join(store)
    for minute, (made, state, other) in enumerate(
        [
            (succeed, State.SUCCEEDED, State.FAILED),
            (fail, State.FAILED, State.SUCCEEDED),
            (succeed, State.SUCCEEDED, State.FAILED),
        ]
    ):
        now = NOW + minute * MINUTE
        claimed = await claim_one(store, now)
        await record(store, made(claimed, now), now=now)
        assert names(await jobs(store, last_state=state)) == ["report"]
        assert names(await jobs(store, last_state=other)) == []


async def test_a_retry_to_come_is_not_a_result(store: Store) -> None:
    await add(store, job("report", at(NOW)))
    await join(store)
    await record(store, fail(await claim_one(store), NOW))
    assert names(await jobs(store, last_state=State.FAILED)) == []


async def test_a_lost_execution_is_a_failed_result(store: Store) -> None:
    await add(store, job("report", at(NOW), delivery=DeliveryMode.AT_MOST_ONCE))
    await join(store)
    await claim_one(store)
    await store.leave("inc-a")
    (lost,) = await rescue_all(store, NOW + SECOND)
    assert lost.state is State.FAILED
    assert names(await jobs(store, last_state=State.FAILED)) == ["report"]


async def test_skipped_and_cancelled_fires_are_not_results(store: Store) -> None:
    of = job("report", every(MINUTE))
    await add(store, of)
    await join(store)
    await record(store, succeed(await claim_one(store), NOW))
    await claim(store, NOW + HOUR)  # skips what was missed, and runs the newest
    await store.cancel_executions(reason=Reason.REQUESTED, now=NOW + HOUR, job_id=of.id)
    states = {one.state for one in await executions(store)}
    assert states == {State.SUCCEEDED, State.SKIPPED, State.CANCELLED}
    assert names(await jobs(store, last_state=State.SUCCEEDED)) == ["report"]


async def test_filters_are_combined(store: Store) -> None:
    await add(
        store,
        job("a", every(HOUR), tags=("x",)),
        job("b", at(NOW + HOUR), tags=("x",)),
        job("c", every(HOUR)),
        job("d", every(HOUR), tags=("x",), status=JobStatus.PAUSED),
        job("e", every(HOUR), tags=("x",), target=HttpTarget(url="https://other.example")),
    )
    found = await jobs(
        store, tags=("x",), kind="every", statuses=(JobStatus.ACTIVE,), text="example.com"
    )
    assert names(found) == ["a"]


async def test_a_list_shows_the_next_fire_and_the_last_execution(store: Store) -> None:
    fired, idle = job("fired", every(MINUTE)), job("idle", at(NOW + HOUR))
    await add(store, fired, idle)
    await join(store)
    claimed = await claim_one(store)
    assert await jobs(store, now=NOW) == [
        JobView(job=fired, next_fire_at=NOW + MINUTE, last_execution=claimed.execution),
        JobView(job=idle, next_fire_at=NOW + HOUR, last_execution=None),
    ]
    assert [view.last_execution for view in await jobs(store, now=NOW - 1)] == [None, None]


# --- sorts --------------------------------------------------------------------------------------


def shuffled() -> list[NewJob]:
    """Jobs whose four sorts all differ; each pair shares its created, updated and fire times."""
    found = []
    for number, name in enumerate(["d", "a", "f", "c", "b", "e"]):
        one = job(
            name,
            at(NOW + (number * 5 % 6 // 2) * MINUTE),
            created_at=NOW + (number * 7 % 3),
            updated_at=NOW + 10 - (number // 2),
        )
        found.append(one)
    views = [NewJob(job=one, timer=timer(one)) for one in found]
    resting = [job("g"), job("aa")]
    return views + [NewJob(job=one, timer=None) for one in resting]


def expected(news: Sequence[NewJob], sort: JobSort) -> list[str]:
    """The names, oldest or smallest first, ties by id, those without a next fire last."""

    def key(new: NewJob) -> tuple[bool, object, str]:
        one = new.job
        match sort:
            case JobSort.NAME:
                return False, one.name, one.id
            case JobSort.CREATED:
                return False, one.created_at, one.id
            case JobSort.UPDATED:
                return False, one.updated_at, one.id
            case JobSort.LAST_RESULT:
                return True, 0, one.id
            case JobSort.NEXT_FIRE:
                fire_at = 0 if new.timer is None else new.timer.fire_at
                return new.timer is None, fire_at, one.id

    return [new.job.name for new in sorted(news, key=key)]


@pytest.mark.parametrize("sort", JobSort)
async def test_jobs_are_sorted_with_ties_by_id(store: Store, sort: JobSort) -> None:
    news = shuffled()
    await add(store, *news)
    assert names(await jobs(store, sort=sort)) == expected(news, sort)


@pytest.mark.parametrize("sort", [sort for sort in JobSort if sort is not JobSort.NEXT_FIRE])
async def test_a_descending_sort_is_the_reverse(store: Store, sort: JobSort) -> None:
    news = shuffled()
    await add(store, *news)
    assert names(await jobs(store, sort=sort, descending=True)) == expected(news, sort)[::-1]


async def test_jobs_without_a_next_fire_come_last_in_either_direction(store: Store) -> None:
    news = shuffled()
    await add(store, *news)
    ascending = expected(news, JobSort.NEXT_FIRE)
    descending = names(await jobs(store, sort=JobSort.NEXT_FIRE, descending=True))
    assert descending[:6] == ascending[:6][::-1]
    assert set(descending[6:]) == {"g", "aa"}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_jobs_that_failed_last_come_first_and_those_that_never_ran_last(
    store: Store, size: int
) -> None:
    failing, fine, unknown = ["f1", "f2", "f3"], ["s1", "s2"], ["n1", "n2"]

    def tags(name: str) -> tuple[str, ...]:
        return ("few",) if name.endswith("1") else ()

    once = RetryPolicy(max_attempts=1)
    await add(store, *(job(name, retry=once, tags=tags(name)) for name in failing + fine))
    await join(store)
    for claimed in (await claim(store)).claims:
        made = fail if claimed.job.name in failing else succeed
        await record(store, made(claimed, NOW))
    later = every(HOUR, anchor=NOW + HOUR)
    await add(store, *(job(name, later, tags=tags(name)) for name in unknown))

    def by_id(some: list[str]) -> list[str]:
        return sorted(some, key=lambda name: job(name).id)

    up = names(await jobs(store, page=size, sort=JobSort.LAST_RESULT))
    assert up == by_id(failing) + by_id(fine) + by_id(unknown)
    down = names(await jobs(store, page=size, sort=JobSort.LAST_RESULT, descending=True))
    assert down == by_id(fine)[::-1] + by_id(failing)[::-1] + by_id(unknown)[::-1]
    few = await jobs(store, page=size, sort=JobSort.LAST_RESULT, tags=("few",))
    assert names(few) == ["f1", "s1", "n1"]
    for state, some in ((State.FAILED, failing), (State.SUCCEEDED, fine), (State.SKIPPED, [])):
        found = await jobs(store, page=size, sort=JobSort.LAST_RESULT, last_state=state)
        assert names(found) == by_id(some)


async def test_names_are_sorted_by_their_characters(store: Store) -> None:
    some = ["a", "a-b", "a.b", "a_b", "a0", "ab", "0", "10", "9"]
    await add(store, *(job(name) for name in some))
    assert names(await jobs(store)) == sorted(some)


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", JobSort)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_pages_put_together_are_the_list(
    store: Store, sort: JobSort, descending: bool, size: int
) -> None:
    await add(store, *shuffled())
    whole = await jobs(store, sort=sort, descending=descending)
    assert len(whole) == 8
    assert await jobs(store, page=size, sort=sort, descending=descending) == whole


async def test_a_page_is_no_longer_than_its_limit_and_the_last_one_says_so(store: Store) -> None:
    await add(store, *(job(name) for name in "abcd"))
    first = await store.list_jobs(JobQuery(limit=3))
    assert names(first.items) == ["a", "b", "c"]
    assert first.next is not None
    second = await store.list_jobs(JobQuery(limit=3, cursor=first.next))
    assert names(second.items) == ["d"]
    assert second.next is None


async def test_a_page_that_ends_with_the_list_has_no_next(store: Store) -> None:
    await add(store, *(job(name) for name in "abc"))
    assert (await store.list_jobs(JobQuery(limit=3))).next is None


async def test_an_empty_list_has_no_next(store: Store) -> None:
    page = await store.list_jobs(JobQuery())
    assert (list(page.items), page.next) == ([], None)


async def test_pages_keep_the_filter(store: Store) -> None:
    await add(store, *(job(name, tags=("x",) if name in "ace" else ()) for name in "abcdef"))
    assert names(await jobs(store, page=1, tags=("x",))) == ["a", "c", "e"]


async def test_a_page_goes_on_where_it_ended_whatever_came_and_went_before(store: Store) -> None:
    b, d, f = job("b"), job("d"), job("f")
    await add(store, b, d, f)
    first = await store.list_jobs(JobQuery(limit=2))
    assert names(first.items) == ["b", "d"]
    await add(store, job("a"), job("e"))
    await delete(store, d)
    second = await store.list_jobs(JobQuery(limit=2, cursor=first.next))
    assert names(second.items) == ["e", "f"]


async def test_a_cursor_says_where_a_page_ended(store: Store) -> None:
    """The sort key of the last item, then its id: the API hands it out as text."""
    a, b = job("a", created_at=NOW + 1), job("b", created_at=NOW + 2)
    await add(store, a, b)
    assert (await store.list_jobs(JobQuery(limit=1))).next == ("a", a.id)
    by_age = await store.list_jobs(JobQuery(limit=1, sort=JobSort.CREATED, descending=True))
    assert by_age.next == (NOW + 2, b.id)


@pytest.mark.parametrize(
    ("sort", "cursor"),
    [
        (JobSort.NAME, ()),
        (JobSort.NAME, ("a",)),
        (JobSort.NAME, (NOW, "an id")),
        (JobSort.NAME, ("a", "no id")),
        (JobSort.NAME, ("a", None)),
        (JobSort.CREATED, ("a", "an id")),
        (JobSort.CREATED, (None, "an id")),
        (JobSort.UPDATED, (NOW, "an id", 1)),
        (JobSort.NEXT_FIRE, ("a", "an id")),
        (JobSort.NEXT_FIRE, (None, None)),
    ],
)
async def test_a_cursor_of_another_list_is_refused(
    store: Store, sort: JobSort, cursor: tuple[str | int | None, ...]
) -> None:
    known = job("a")
    await add(store, known)
    with_id = tuple(known.id if value == "an id" else value for value in cursor)
    with pytest.raises(InvalidInput) as refused:
        await store.list_jobs(JobQuery(sort=sort, cursor=with_id))
    assert [problem.field for problem in refused.value.problems] == ["cursor"]


async def test_changed_jobs_are_listed_as_they_are_now(store: Store) -> None:
    old = job("b")
    await add(store, old, job("a"))
    new = await change(store, old, now=NOW + 5, name="0-first")
    assert next(view.job for view in await jobs(store)) == new
