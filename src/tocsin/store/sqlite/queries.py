"""The text of the statements that run per fire or in bulk.

Where a partial index or the order of a join matters it is spelled out, because without statistics
SQLite may choose otherwise; ``tests/unit/test_sqlite_plans.py`` asserts the plans. Lists are
passed as one JSON parameter: the text of a statement stays the same, so it is prepared once.
"""

from tocsin.domain.execution import State
from tocsin.store.rows import (
    CLAIMED_COLUMNS,
    CLAIMED_VALUES,
    EXECUTION_COLUMNS,
    JOB_COLUMNS,
    READ_JOB_SQL,
)
from tocsin.store.tables import CLAIMED, LIVE, QUEUED, WAITING, audit, timers

LOOK_AHEAD = 1_000
"""How many timers in busy lanes are read past in search of the next one that is not."""

_COLUMNS = ", ".join(f'"{name}"' for name in EXECUTION_COLUMNS)
_E_COLUMNS = ", ".join(f'e."{name}"' for name in EXECUTION_COLUMNS)
_LIST = "(SELECT value FROM json_each(?))"


def _marks(count: int) -> str:
    return ", ".join("?" * count)


NODE_EXISTS = "SELECT 1 FROM nodes WHERE incarnation = ?"


def _not_busy(of: str, *, lanes: bool, jobs: bool) -> str:
    """Parameters: busy lanes, busy jobs, each if there are any."""
    return (f"AND {of}.lane NOT IN {_LIST} " if lanes else "") + (
        f"AND {of}.job_id NOT IN {_LIST}" if jobs else ""
    )


def due_timers_sql(*, lanes: bool, jobs: bool, newest: bool) -> str:
    """Parameters: exact, until, busy lanes and busy jobs if any, limit."""
    order = "DESC" if newest else "ASC"
    return f"""
        SELECT t.job_id, t.fire_at, t.due_at, t.lane, j.version
        FROM timers t CROSS JOIN jobs j ON j.id = t.job_id
        WHERE t.exact = ? AND t.due_at <= ? {_not_busy("t", lanes=lanes, jobs=jobs)}
          AND j.status = 'active'
        ORDER BY t.due_at {order}, t.job_id {order} LIMIT ?"""  # noqa: S608  # put together from constants


def due_executions_sql(*, lanes: bool, jobs: bool, newest: bool) -> str:
    """Parameters: exact, until, busy lanes and busy jobs if any, limit."""
    order = "DESC" if newest else "ASC"
    return f"""
        SELECT {_E_COLUMNS}, j.version
        FROM executions e INDEXED BY executions_waiting
        LEFT JOIN jobs j ON j.id = e.job_id
        WHERE e.{WAITING.replace("queued", "e.queued")} AND e.exact = ? AND e.available_at <= ?
          {_not_busy("e", lanes=lanes, jobs=jobs)}
        ORDER BY e.available_at {order}, e.id {order} LIMIT ?"""  # noqa: S608  # from constants


def due_queued_sql(*, lanes: bool, jobs: bool) -> str:
    """Parameters: now, busy lanes and busy jobs if any, limit.

    Goes from job to job through the index of what is queued, and takes the first of each where
    nothing is live that is not queued: what waits behind it costs nothing, however long the
    queues are.
    """
    return f"""
        WITH RECURSIVE waiting(job_id) AS (
            SELECT min(job_id) FROM executions INDEXED BY executions_queued WHERE {QUEUED}
            UNION ALL
            SELECT (SELECT min(q.job_id) FROM executions q INDEXED BY executions_queued
                    WHERE q.{QUEUED.replace("queued", "q.queued")} AND q.job_id > waiting.job_id)
            FROM waiting WHERE waiting.job_id IS NOT NULL
        )
        SELECT {_E_COLUMNS}, j.version
        FROM waiting
        CROSS JOIN executions e ON e.id = (
            SELECT min(q.id) FROM executions q INDEXED BY executions_queued
            WHERE q.job_id = waiting.job_id AND q.{QUEUED.replace("queued", "q.queued")})
        LEFT JOIN jobs j ON j.id = e.job_id
        WHERE e.available_at <= ?
          AND NOT EXISTS (
            SELECT 1 FROM executions o INDEXED BY executions_live
            WHERE o.job_id = waiting.job_id AND o.{LIVE} AND NOT o.queued)
          {_not_busy("e", lanes=lanes, jobs=jobs)}
        ORDER BY e.available_at, e.id LIMIT ?"""  # noqa: S608  # put together from constants


_NEXT_TIMER = """
    SELECT t.due_at FROM timers t CROSS JOIN jobs j ON j.id = t.job_id
    WHERE t.exact = {exact} AND t.due_at > ?1 AND j.status = 'active' ORDER BY t.due_at LIMIT 1"""
_NEXT_WAITING = f"""
    SELECT available_at FROM executions INDEXED BY executions_waiting
    WHERE {WAITING} AND exact = {{exact}} AND available_at > ?1 ORDER BY available_at LIMIT 1"""  # noqa: S608
NEXT_DUE = "SELECT " + ", ".join(
    f"({part.format(exact=exact)})" for part in (_NEXT_TIMER, _NEXT_WAITING) for exact in (0, 1)
)
"""Parameter: after."""

_PAST_BUSY = """
    SELECT (SELECT {at} FROM {source} AND exact = {exact} AND {at} > ?1
                AND {at} < coalesce(horizon, 9e18)
                AND lane NOT IN (SELECT value FROM json_each(?2)) AND {counts}
            ORDER BY {at} LIMIT 1), horizon
    FROM (SELECT (SELECT {at} FROM {source} AND exact = {exact} AND {at} > ?1
                  ORDER BY {at} LIMIT 1 OFFSET {offset}) AS horizon)"""
NEXT_DUE_PAST_BUSY = tuple(
    _PAST_BUSY.format(at=at, source=source, exact=exact, counts=counts, offset=LOOK_AHEAD)
    for at, source, counts in (
        (
            "due_at",
            "timers WHERE true",
            "(SELECT status FROM jobs WHERE id = timers.job_id) = 'active'",
        ),
        ("available_at", f"executions INDEXED BY executions_waiting WHERE {WAITING}", "true"),
    )
    for exact in (0, 1)
)
"""Parameters: after, busy lanes. Answers the instant sought, then where the search ended."""

LIVE_COUNTS = f"""
    SELECT job_id, sum(NOT queued), sum(queued) FROM executions INDEXED BY executions_live
    WHERE job_id IN {_LIST} AND {LIVE} GROUP BY job_id"""  # noqa: S608  # put together from constants

INSERT_EXECUTION = (
    f"INSERT INTO executions ({_COLUMNS}) VALUES ({_marks(len(EXECUTION_COLUMNS))})"  # noqa: S608
    " ON CONFLICT (id) DO NOTHING"
)
INSERT_CLAIMED = (
    f"INSERT INTO executions ({', '.join((*CLAIMED_COLUMNS, *CLAIMED_VALUES))})"  # noqa: S608
    f" VALUES ({_marks(len(CLAIMED_COLUMNS))}, {', '.join(CLAIMED_VALUES.values())})"
    " ON CONFLICT (id) DO NOTHING"
)
NEWEST_EXECUTION = "SELECT coalesce(max(rowid), 0) FROM executions"
OLDER_EXECUTIONS = f"SELECT id FROM executions WHERE id IN {_LIST} AND rowid <= ?"  # noqa: S608
"""Which of some ids existed before the newest row was another: rows are numbered as they come."""
MOVE_TIMERS = """
    UPDATE timers SET
        fire_at = v.column1, due_at = v.column2, lane = v.column3, exact = v.column4
    FROM (VALUES (?, ?, ?, ?, ?, ?)) AS v
    WHERE timers.job_id = v.column5 AND timers.fire_at = v.column6"""
END_TIMERS = "DELETE FROM timers WHERE job_id IN (VALUES (?))"
TAKE = f"""
    UPDATE executions SET state = '{State.CLAIMED.value}', owner = ?, queued = 0
    WHERE id IN {_LIST} AND state = '{State.PENDING.value}'"""  # noqa: S608
STORE_RESULT = f"""
    UPDATE executions SET state = ?, finished_at = ?, queued = ?, owner = ?, available_at = ?,
        reason = ?, attempt_count = ?, error_kind = ?, attempts = ?
    WHERE id = ? AND {CLAIMED} AND owner = ? AND attempt_count BETWEEN ? AND ?"""  # noqa: S608
STORE_RESULTS = f"""
    UPDATE executions SET state = v.column1, finished_at = v.column2, queued = v.column3,
        owner = v.column4, available_at = v.column5, reason = v.column6,
        attempt_count = v.column7, error_kind = v.column8, attempts = v.column9
    FROM (VALUES ({_marks(13)})) AS v
    WHERE executions.id = v.column10 AND {CLAIMED} AND owner = v.column11
      AND attempt_count BETWEEN v.column12 AND v.column13"""  # noqa: S608
STORE_SUCCESSES = f"""
    UPDATE executions SET state = '{State.SUCCEEDED.value}', finished_at = v.column1,
        available_at = NULL, reason = NULL, attempt_count = v.column2, error_kind = NULL,
        attempts = v.column3
    FROM (VALUES ({_marks(7)})) AS v
    WHERE executions.id = v.column4 AND {CLAIMED} AND owner = v.column5
      AND attempt_count BETWEEN v.column6 AND v.column7"""  # noqa: S608
"""What nearly all results are. A claimed row is not queued and has its owner: to set these columns
all the same would take a quarter longer, because indexes look at them."""

ADD_TO_COUNTER = """
    INSERT INTO counters (shard, name, value) VALUES (?, ?, ?)
    ON CONFLICT (shard, name) DO UPDATE SET value = value + excluded.value"""
READ_TALLY = "SELECT data FROM tallies WHERE minute = ? AND node = ?"
WRITE_TALLY = """
    INSERT INTO tallies (minute, node, data) VALUES (?, ?, ?)
    ON CONFLICT (minute, node) DO UPDATE SET data = excluded.data"""
SET_HEALTH = """
    INSERT INTO health (job_id, last_state, since) VALUES (?, ?, ?)
    ON CONFLICT (job_id) DO UPDATE SET last_state = excluded.last_state, since = excluded.since
    WHERE last_state <> excluded.last_state"""

READ_JOBS = f"SELECT {READ_JOB_SQL} FROM jobs WHERE id IN {_LIST}"  # noqa: S608
INSERT_JOB = f"INSERT INTO jobs ({', '.join(JOB_COLUMNS)}) VALUES ({_marks(len(JOB_COLUMNS))})"  # noqa: S608
REPLACE_JOB = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in JOB_COLUMNS)} WHERE id = ?"  # noqa: S608
INSERT_TAG = "INSERT INTO job_tags (tag, job_id) VALUES (?, ?) ON CONFLICT DO NOTHING"
INSERT_TIMER = (
    f"INSERT INTO timers ({', '.join(timers.columns.keys())})"  # noqa: S608
    f" VALUES ({_marks(len(timers.columns))})"
)

INSERT_AUDIT = f"INSERT INTO audit VALUES ({_marks(len(audit.columns))})"  # noqa: S608
