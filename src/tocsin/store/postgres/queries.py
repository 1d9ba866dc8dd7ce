"""The text of the statements that run per fire or in bulk, for psycopg.

Batches come as one array per column. Where a statement changes rows by id it also names these ids
in one array: that is what the index is entered with, and what tells which days are concerned.

What is read for a change is locked by the statement that reads it, and rows that another node has
locked are passed over. A statement sees what was committed before it began: where a decision
depends on other rows (is anything of this job live?) the job is locked by one statement and these
rows are read by the next.
"""

from collections.abc import Sequence

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql

from tocsin.domain.execution import State
from tocsin.store.rows import (
    CLAIMED_COLUMNS,
    CLAIMED_VALUES,
    EXECUTION_COLUMNS,
    JOB_COLUMNS,
    READ_JOB_SQL,
)
from tocsin.store.sql.statements import RESULT_COLUMNS, SUCCESS_COLUMNS
from tocsin.store.tables import LIVE, QUEUED, WAITING, audit, executions, jobs, timers

LOOK_AHEAD = 1_000
"""How many timers in busy lanes are read past in search of the next one that is not."""

_COLUMNS = ", ".join(f'"{name}"' for name in EXECUTION_COLUMNS)
_E_COLUMNS = ", ".join(f'e."{name}"' for name in EXECUTION_COLUMNS)


def _of_e(condition: str) -> str:
    """A condition of a partial index where the table is called ``e``."""
    return condition.replace("state", "e.state").replace("queued", "e.queued")


def _unnest(types: Sequence[str]) -> str:
    return "unnest(" + ", ".join(f"%s::{one}[]" for one in types) + ")"


def _types(table: Table, names: Sequence[str] | None = None) -> list[str]:
    columns = [table.columns[name] for name in names or table.columns.keys()]
    # SQLAlchemy gives this class no types.
    dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return [str(one.type.compile(dialect=dialect)).split()[0].lower() for one in columns]


TIME = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
NODE_EXISTS = "SELECT 1 FROM nodes WHERE incarnation = %s FOR KEY SHARE"


def _not_busy(of: str, *, lanes: bool, jobs: bool) -> str:
    """Parameters: busy lanes, busy jobs, each if there are any."""
    return (f"AND {of}.lane <> ALL (%s::smallint[]) " if lanes else "") + (
        f"AND {of}.job_id <> ALL (%s::uuid[])" if jobs else ""
    )


def due_timers_sql(*, exact: bool, lanes: bool, jobs: bool, newest: bool) -> str:
    """Parameters: until, busy lanes and busy jobs if any, limit.

    What must be claimed at its instant may depend on what is live of its job, which is locked.
    """
    order = "DESC" if newest else "ASC"
    return f"""
        SELECT t.job_id, t.fire_at, t.due_at, t.lane, j.version
        FROM timers t JOIN jobs j ON j.id = t.job_id
        WHERE t.exact = {exact} AND t.due_at <= %s
          {_not_busy("t", lanes=lanes, jobs=jobs)}
          AND j.status = 'active'
        ORDER BY t.due_at {order}, t.job_id {order} LIMIT %s
        FOR UPDATE OF {"t, j" if exact else "t"} SKIP LOCKED"""  # noqa: S608  # from constants


def due_executions_sql(*, exact: bool, lanes: bool, jobs: bool, newest: bool) -> str:
    """Parameters: until, busy lanes and busy jobs if any, limit."""
    order = "DESC" if newest else "ASC"
    return f"""
        SELECT {_E_COLUMNS}, j.version
        FROM executions e LEFT JOIN jobs j ON j.id = e.job_id
        WHERE {_of_e(WAITING)} AND e.exact = {exact} AND e.available_at <= %s
          {_not_busy("e", lanes=lanes, jobs=jobs)}
        ORDER BY e.available_at {order}, e.id {order} LIMIT %s
        FOR UPDATE OF e SKIP LOCKED"""  # noqa: S608  # put together from constants


_NOTHING_RUNS = f"""NOT EXISTS (
            SELECT 1 FROM executions o
            WHERE o.job_id = e.job_id AND o.{LIVE} AND NOT o.queued)"""  # noqa: S608


def queueing_jobs_sql(*, lanes: bool, jobs: bool) -> str:
    """Parameters: now, busy lanes and busy jobs if any, limit.

    Locks the jobs whose queue may move.
    """
    return f"""
        WITH e AS MATERIALIZED (
            SELECT DISTINCT ON (job_id) job_id, id, available_at, lane
            FROM executions WHERE {QUEUED} ORDER BY job_id, id)
        SELECT j.id FROM e JOIN jobs j ON j.id = e.job_id
        WHERE e.available_at <= %s {_not_busy("e", lanes=lanes, jobs=jobs)}
          AND {_NOTHING_RUNS}
        ORDER BY e.available_at, e.id LIMIT %s
        FOR UPDATE OF j SKIP LOCKED"""  # noqa: S608  # put together from constants


DUE_QUEUED = f"""
    WITH heads AS MATERIALIZED (
        SELECT DISTINCT ON (job_id) id FROM executions
        WHERE job_id = ANY (%s::uuid[]) AND {QUEUED} ORDER BY job_id, id)
    SELECT {_E_COLUMNS}, j.version
    FROM executions e JOIN jobs j ON j.id = e.job_id
    WHERE e.id IN (SELECT id FROM heads) AND {_of_e(QUEUED)} AND e.available_at <= %s
      AND {_NOTHING_RUNS}
    ORDER BY e.available_at, e.id
    FOR UPDATE OF e SKIP LOCKED"""  # noqa: S608  # put together from constants
"""Parameters: jobs that are locked, now."""

_NEXT_TIMER = """
    SELECT t.due_at FROM timers t JOIN jobs j ON j.id = t.job_id
    WHERE t.exact = {exact} AND t.due_at > %(after)s AND j.status = 'active'
    ORDER BY t.due_at LIMIT 1"""
_NEXT_WAITING = f"""
    SELECT available_at FROM executions
    WHERE {WAITING} AND exact = {{exact}} AND available_at > %(after)s
    ORDER BY available_at LIMIT 1"""  # noqa: S608
NEXT_DUE = "SELECT " + ", ".join(
    f"({part.format(exact=exact)})"
    for part in (_NEXT_TIMER, _NEXT_WAITING)
    for exact in ("false", "true")
)
"""Parameter: after."""

_PAST_BUSY = """
    SELECT (SELECT {at} FROM {source} AND exact = {exact} AND {at} > %(after)s
                AND {at} < coalesce(horizon, 9e18)
                AND lane <> ALL (%(busy)s::smallint[]) AND {counts}
            ORDER BY {at} LIMIT 1), horizon
    FROM (SELECT (SELECT {at} FROM {source} AND exact = {exact} AND {at} > %(after)s
                  ORDER BY {at} LIMIT 1 OFFSET {offset}) AS horizon) AS far"""
NEXT_DUE_PAST_BUSY = tuple(
    _PAST_BUSY.format(at=at, source=source, exact=exact, counts=counts, offset=LOOK_AHEAD)
    for at, source, counts in (
        (
            "due_at",
            "timers WHERE true",
            "(SELECT status FROM jobs WHERE id = timers.job_id) = 'active'",
        ),
        ("available_at", f"executions WHERE {WAITING}", "true"),
    )
    for exact in ("false", "true")
)
"""Parameters: after, busy lanes. Answers the instant sought, then where the search ended."""

LOCK_JOBS = """
    SELECT id, version FROM jobs WHERE id = ANY (%s::uuid[]) FOR KEY SHARE SKIP LOCKED"""
LOCK_LIVE = f"""
    SELECT FROM executions WHERE job_id = ANY (%s::uuid[]) AND {LIVE}
    ORDER BY id::text COLLATE "C" FOR UPDATE"""
"""In the order of ids, but sorted: the order of the primary key would be had by reading it all."""
TAKE_TURNS = "SELECT pg_advisory_xact_lock(%s)"
LIVE_COUNTS = f"""
    SELECT job_id, count(*) FILTER (WHERE NOT queued), count(*) FILTER (WHERE queued)
    FROM executions WHERE job_id = ANY (%s::uuid[]) AND {LIVE} GROUP BY job_id"""  # noqa: S608

INSERT_EXECUTIONS = f"""
    INSERT INTO executions ({_COLUMNS})
    SELECT * FROM {_unnest(_types(executions))} ON CONFLICT (id) DO NOTHING RETURNING id"""  # noqa: S608
INSERT_NEW = f"""
    INSERT INTO executions ({", ".join((*CLAIMED_COLUMNS, *CLAIMED_VALUES))})
    SELECT v.*, {", ".join(CLAIMED_VALUES.values())}
    FROM {_unnest(_types(executions, CLAIMED_COLUMNS))} AS v"""  # noqa: S608
"""Parameters: the columns of the rows. Fails where one of them exists."""
INSERT_CLAIMED = f"""
    WITH added AS ({INSERT_NEW}
        ON CONFLICT (id) DO NOTHING RETURNING id)
    SELECT CASE WHEN count(*) < %s THEN coalesce(array_agg(id::text), '{{}}') END FROM added"""  # noqa: S608
"""Parameters: the columns of the rows, how many they are. Answers which were added, or null where
all were.
"""
MOVE_TIMERS = f"""
    UPDATE timers t SET fire_at = v.fire_at, due_at = v.due_at, lane = v.lane, exact = v.exact
    FROM {_unnest(["bigint", "bigint", "smallint", "boolean", "uuid", "bigint"])}
        AS v (fire_at, due_at, lane, exact, job_id, was)
    WHERE t.job_id = v.job_id AND t.job_id = ANY (%s::uuid[]) AND t.fire_at = v.was"""  # noqa: S608
END_TIMERS = "DELETE FROM timers WHERE job_id = ANY (%s::uuid[])"
TAKE = f"""
    UPDATE executions SET state = '{State.CLAIMED.value}', owner = %s, queued = false
    WHERE id = ANY (%s::uuid[])
      AND state = '{State.PENDING.value}'"""  # noqa: S608

_SET_SUCCESS = f"""
    state = '{State.SUCCEEDED.value}', finished_at = v.finished_at, available_at = NULL,
    reason = NULL, attempt_count = v.attempt_count, error_kind = NULL, attempts = v.attempts"""


def _store(what: str, names: Sequence[str]) -> str:
    """Write results whose rows hold these columns and the conditions.

    PostgreSQL takes ten rows for granted wherever it cannot know. What is compared with the other
    rows of the batch must not look rarer than that, or each row is compared with each: so the
    state, too, is compared with something of the batch, though it is the same for all.
    """
    return f"""
    WITH stored AS (
        UPDATE executions e SET {what}
        FROM {_unnest([*_types(executions, names), "text", "integer", "integer"])}
            AS v ({", ".join(names)}, claimed_by, at_least, at_most)
        WHERE e.id = v.id AND e.id = ANY (%s::uuid[])
          AND e.state = left(v.claimed_by, 0) || '{State.CLAIMED.value}' AND e.owner = v.claimed_by
          AND e.attempt_count BETWEEN v.at_least AND v.at_most
        RETURNING e.id)
    SELECT CASE WHEN count(*) < %s THEN coalesce(array_agg(id::text), '{{}}') END FROM stored"""  # noqa: S608  # put together from constants


STORE_RESULTS = _store(
    ", ".join(f"{name} = v.{name}" for name in RESULT_COLUMNS if name != "id"), RESULT_COLUMNS
)
STORE_SUCCESSES = _store(_SET_SUCCESS, SUCCESS_COLUMNS)
"""Parameters: the columns of the rows, all ids, how many they are. Answers which were stored, or
null where all were.
"""

ADD_TO_COUNTERS = f"""
    INSERT INTO counters (shard, name, value)
    SELECT %s, name, change FROM {_unnest(["text", "bigint"])} AS v (name, change)
    ON CONFLICT (shard, name) DO UPDATE SET value = counters.value + excluded.value"""  # noqa: S608
READ_TALLY = """
    INSERT INTO tallies (minute, node, data) VALUES (%s, %s, '')
    ON CONFLICT (minute, node) DO UPDATE SET data = tallies.data RETURNING data"""
"""Writes what is there: that locks the row, or makes one that nobody else can make meanwhile."""
WRITE_TALLY = "UPDATE tallies SET data = %s WHERE minute = %s AND node = %s"
SET_HEALTH = f"""
    INSERT INTO health (job_id, last_state, since)
    SELECT * FROM {_unnest(["uuid", "text", "bigint"])}
    ON CONFLICT (job_id) DO UPDATE SET last_state = excluded.last_state, since = excluded.since
    WHERE health.last_state <> excluded.last_state"""  # noqa: S608

READ_JOBS = f"SELECT {READ_JOB_SQL} FROM jobs WHERE id = ANY (%s::uuid[])"  # noqa: S608
INSERT_JOBS = f"""
    INSERT INTO jobs ({", ".join(JOB_COLUMNS)}) SELECT * FROM {_unnest(_types(jobs))}"""  # noqa: S608
REPLACE_JOB = f"UPDATE jobs SET {', '.join(f'{name} = %s' for name in JOB_COLUMNS)} WHERE id = %s"  # noqa: S608
INSERT_TAGS = f"""
    INSERT INTO job_tags (tag, job_id) SELECT * FROM {_unnest(["text", "uuid"])}
    ON CONFLICT DO NOTHING"""  # noqa: S608
INSERT_TIMERS = f"""
    INSERT INTO timers ({", ".join(timers.columns.keys())})
    SELECT * FROM {_unnest(_types(timers))}"""  # noqa: S608

COPY_JOBS = f"COPY jobs ({', '.join(JOB_COLUMNS)}) FROM STDIN"
COPY_TAGS = "COPY job_tags (tag, job_id) FROM STDIN"
COPY_TIMERS = f"COPY timers ({', '.join(timers.columns.keys())}) FROM STDIN"

INSERT_AUDIT = f"INSERT INTO audit SELECT * FROM {_unnest(_types(audit))}"  # noqa: S608
