"""Which stage of a fire each part of the program belongs to, to sort sampled stacks by.

A stack belongs to the innermost of its frames that is named here: by module and function, or by
module, or by a folder (with a slash at its end). What several stages share (codecs, rows) counts
for whoever called it. ``tests/unit/test_bench_stages.py`` holds the names against the program.
"""

import re
from collections.abc import Sequence
from functools import cache

PLAN = "plan"
CLAIM = "claim"
WAKE = "wake and hold"
BUILD = "build the request"
GUARD = "guard"
WRITE = "call: write"
READ = "call: read and parse"
CALL = "call: client and pool"
JUDGE = "judge"
RECORD = "record"
COMMIT = "commit"
METRICS = "metrics"
LOG = "log"
EVENTS = "events"
UPKEEP = "lease, rescue, retention"
STORE = "store, other"
OTHER = "API and other"
REST = "loop, kernel, library"
SHARED = ""
"""Of the caller."""

STAGES = (PLAN, CLAIM, WAKE, BUILD, GUARD, WRITE, READ, CALL, JUDGE, RECORD, COMMIT, METRICS, LOG,
          EVENTS, UPKEEP, STORE, OTHER, REST)  # fmt: skip
"""In the order of a fire's life."""

_CLAIM_STATEMENTS = (
    "due_timers due_executions due_queued next_due lock_live live_counts insert_executions "
    "move_timers end_timers take"
)
_RECORD_STATEMENTS = "store_results read_tally write_tally set_health"

PLACES: Sequence[tuple[str, str, str]] = (
    # stage, module or folder below src/tocsin, functions (none: all that are not named elsewhere)
    (PLAN, "domain/planning.py", ""),
    (PLAN, "domain/schedule/", ""),
    (CLAIM, "engine/claiming.py", ""),
    (CLAIM, "engine/fire.py", ""),
    (CLAIM, "store/sql/claim.py", ""),
    (CLAIM, "store/sql/job_cache.py", ""),
    (CLAIM, "store/sql/store.py", "claim"),
    (CLAIM, "store/sqlite/statements.py", _CLAIM_STATEMENTS),
    (CLAIM, "store/postgres/statements.py", _CLAIM_STATEMENTS),
    (WAKE, "engine/dispatch.py", ""),
    (WAKE, "engine/held.py", ""),
    (WAKE, "engine/lanes.py", ""),
    (BUILD, "delivery/request.py", ""),
    (BUILD, "delivery/deliver.py", "_compile"),
    (BUILD, "delivery/http/wire.py", ""),
    (BUILD, "delivery/http/url.py", ""),
    (BUILD, "domain/placeholder.py", ""),
    (GUARD, "delivery/http/guard.py", ""),
    (WRITE, "delivery/http/connection.py", "exchange"),
    (READ, "delivery/http/connection.py", "data_received"),
    (READ, "delivery/http/answer.py", ""),
    (READ, "delivery/http/excerpt.py", ""),
    (CALL, "delivery/", ""),
    (JUDGE, "delivery/deliver.py", "judge retry_after"),
    (JUDGE, "domain/settle.py", ""),
    (RECORD, "engine/recorder.py", ""),
    (RECORD, "store/sql/store.py", "record"),
    (RECORD, "store/sql/record.py", ""),
    (RECORD, "store/sql/outcomes.py", ""),
    (RECORD, "store/sqlite/statements.py", _RECORD_STATEMENTS),
    (RECORD, "store/postgres/statements.py", _RECORD_STATEMENTS),
    (COMMIT, "store/sqlite/engine.py", ""),
    (COMMIT, "store/postgres/database.py", ""),
    (METRICS, "telemetry/metrics.py", ""),
    (METRICS, "telemetry/series.py", ""),
    (LOG, "engine/outcomes.py", ""),
    (LOG, "telemetry/", ""),
    (EVENTS, "api/eventlog.py", ""),
    (EVENTS, "store/bus.py", ""),
    (EVENTS, "engine/relay.py", ""),
    (UPKEEP, "engine/", ""),
    (STORE, "store/", ""),
    (SHARED, "store/rows.py", ""),
    (SHARED, "store/sql/statements.py", ""),
    (SHARED, "store/sqlite/statements.py", ""),
    (SHARED, "store/sqlite/batches.py", ""),
    (SHARED, "store/postgres/statements.py", ""),
    (SHARED, "store/postgres/arrays.py", ""),
    (OTHER, "api/", ""),
    (OTHER, "services/", ""),
)

_FRAME = re.compile(r"(?P<function>.*) \((?:.*/)?tocsin/(?P<module>[\w/]+\.py)(?::\d+)?\)")

_BY_FUNCTION = {
    (module, function): stage
    for stage, module, functions in PLACES
    for function in functions.split()
}
_BY_MODULE = {module: stage for stage, module, functions in PLACES if not functions}


def stage_of(stack: Sequence[str]) -> str:
    """The stage of a stack, its frames as py-spy writes them, outermost first."""
    for frame in reversed(stack):
        stage = _of_frame(frame)
        if stage:
            return stage
    return REST


@cache
def _of_frame(frame: str) -> str | None:
    found = _FRAME.fullmatch(frame)
    if found is None:
        return None
    module = found["module"]
    # A method is named after its class, a nested function after the one around it.
    for function in reversed(found["function"].split(".")):
        if (module, function) in _BY_FUNCTION:
            return _BY_FUNCTION[module, function]
    place = module
    while place:
        if place in _BY_MODULE:
            return _BY_MODULE[place]
        place = place.rstrip("/").rpartition("/")[0]
        place += "/" if place else ""
    return None
