"""The new jobs of several callers in one transaction, so that they share its commit.

As a rule nothing is wrong with any of them, and their rows are inserted together. Where something
is, it is found out whose, and the rest is inserted.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

from sqlalchemy import Connection

from tocsin.domain.errors import CapacityExceeded, InvalidInput
from tocsin.store.port import Created, Limits, NewJob, NewJobs
from tocsin.store.rows import Row, job_row
from tocsin.store.sql.audit import note
from tocsin.store.sql.jobs import SIZE, add_around, name_problems, over_capacity, taken_names
from tocsin.store.sql.requests import drop_request, store_request, stored_request
from tocsin.store.sql.statements import Statements


class Inseparable(Exception):
    """Something is wrong with one of the sets, and it cannot be told with which."""


def create_sets(
    conn: Connection, statements: Statements, sets: Sequence[NewJobs], *, limits: Limits
) -> list[Created]:
    """Store sets of new jobs, each all or none; raises ``Inseparable``."""
    outcomes: list[Created] = [None] * len(sets)
    todo = list(range(len(sets)))
    while todo:
        part = _Part(conn, statements, sets, outcomes)
        # Who comes with a key that an earlier set has is given what becomes of that one.
        todo = part.take(todo)
        part.store(limits)
    return outcomes


class _Part:
    """Sets without a key in common."""

    def __init__(
        self,
        conn: Connection,
        statements: Statements,
        sets: Sequence[NewJobs],
        outcomes: list[Created],
    ) -> None:
        self._conn = conn
        self._statements = statements
        self._sets = sets
        self._outcomes = outcomes
        self._fresh: list[int] = []

    def take(self, todo: Sequence[int]) -> list[int]:
        """Choose sets, and keep their requests; returns those that have to wait.

        With the first that does all behind it wait, so that they are stored in their order.
        """
        keyed: dict[tuple[str, str, str], int] = {}
        chosen = list(todo)
        for position, index in enumerate(todo):
            request = self._sets[index].request
            if request is None:
                continue
            key = (request.namespace, request.operation, request.key)
            if key in keyed:
                chosen = list(todo[:position])
                break
            keyed[key] = index
        # In one order, so that two nodes with the same keys do not wait for each other in a circle.
        for _, index in sorted(keyed.items()):
            request = self._sets[index].request
            taken = stored_request(self._conn, request)
            self._outcomes[index] = taken
            if taken is None:
                store_request(self._conn, request)
        self._fresh = [index for index in chosen if self._outcomes[index] is None]
        return list(todo[len(chosen) :])

    def store(self, limits: Limits) -> None:
        """Store the jobs of the sets that were chosen, as far as nothing is wrong with them."""
        rows = {index: _rows(self._sets[index].jobs) for index in self._fresh}
        kept = self._fresh
        jobs, growth = _sum(rows.values())
        over = over_capacity(self._conn, self._statements, limits, jobs=jobs, growth=growth)
        if over is not None or not self._insert(rows, kept):
            kept = self._sound(rows, limits)
            if not self._insert(rows, kept):
                raise Inseparable
            for index in set(self._fresh).difference(kept):
                drop_request(self._conn, self._sets[index].request)
        new = list(chain.from_iterable(self._sets[index].jobs for index in kept))
        whole = list(chain.from_iterable(rows[index] for index in kept))
        add_around(self._conn, self._statements, new, whole)
        told = list(chain.from_iterable(self._sets[index].audit for index in kept))
        note(self._conn, self._statements, told)

    def _insert(self, rows: dict[int, list[Row]], kept: Sequence[int]) -> bool:
        whole = list(chain.from_iterable(rows[index] for index in kept))
        return not whole or self._statements.insert_jobs(self._conn, whole)

    def _sound(self, rows: dict[int, list[Row]], limits: Limits) -> list[int]:
        """The sets that can be stored, if they come one after the other; notes why others not."""
        new = list(chain.from_iterable(self._sets[index].jobs for index in self._fresh))
        taken = taken_names(self._conn, new)
        kept: list[int] = []
        jobs = growth = 0
        for index in self._fresh:
            mine = self._sets[index].jobs
            problems = name_problems(mine, taken)
            more_jobs, more_growth = _sum([rows[index]])
            over: CapacityExceeded | None = None
            if not problems:
                over = over_capacity(
                    self._conn,
                    self._statements,
                    limits,
                    jobs=more_jobs,
                    growth=more_growth,
                    beside=(jobs, growth),
                )
            if problems:
                self._outcomes[index] = InvalidInput(problems)
            elif over is not None:
                self._outcomes[index] = over
            else:
                kept.append(index)
                jobs, growth = jobs + more_jobs, growth + more_growth
                taken.update((one.job.namespace, one.job.name) for one in mine)
        return kept


def _rows(new: Sequence[NewJob]) -> list[Row]:
    return [job_row(one.job, one.written) for one in new]


def _sum(rows: Iterable[Sequence[Row]]) -> tuple[int, int]:
    """How many jobs, and the bytes of their definitions."""
    sizes = [row[SIZE] for some in rows for row in some]
    return len(sizes), sum(sizes)
