"""Jobs, decoded once per version and kept while they are used."""

from collections.abc import Iterable, Sequence
from threading import Lock

import structlog
from sqlalchemy import Connection

from tocsin.domain.errors import StoreCorrupt
from tocsin.domain.job import Job
from tocsin.store.rows import Row, job_of, with_status
from tocsin.store.sql.ids import CHUNK
from tocsin.store.sql.statements import Statements

log = structlog.stdlib.get_logger("tocsin.store")


class JobCache:
    """A bounded memory of jobs by id and version.

    Two generations: what is used moves to the young one; where there is no room, an old one is
    forgotten, and when none is left all are old. That costs one dictionary lookup per hit, where a
    list in order of use costs three, and what is in use all stays as long as it fits.
    What is in it never goes stale, since whatever changes a job changes its version; but for the
    last fire, which completes it. So the status is always that of the row.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = max(1, capacity)
        self._young: dict[str, Job] = {}
        self._old: dict[str, Job] = {}
        # Readers in several threads may turn the generations at once.
        self._lock = Lock()

    def put(self, jobs: Iterable[Job]) -> None:
        """Keep jobs; their transaction must have been committed."""
        with self._lock:
            for job in jobs:
                self._keep(job)

    def forget(self) -> None:
        """Drop everything: the database may be another one from here on."""
        with self._lock:
            self._young, self._old = {}, {}

    def load(
        self, conn: Connection, statements: Statements, wanted: Sequence[tuple[str, int]]
    ) -> dict[str, Job]:
        """The jobs with these ids and versions, the missing ones read from the database.

        Left out are those that do not exist and, after a line in the log, those that cannot be
        read. One that is completed may be told as still active.
        """
        found: dict[str, Job] = {}
        missing: list[str] = []
        with self._lock:
            for job_id, version in wanted:
                job = self._young.get(job_id)
                if job is None:
                    job = self._old.pop(job_id, None)
                    if job is not None:
                        self._young[job_id] = job
                if job is not None and job.version == version:
                    found[job_id] = job
                else:
                    missing.append(job_id)
        if missing:
            found.update(self._fetch(conn, statements, missing))
        return found

    def of(self, row: Row) -> Job:
        """The job of a row of ``READ_JOB_COLUMNS``; raises ``StoreCorrupt``."""
        job_id, version = row[0], row[4]
        job = self._young.get(job_id) or self._old.get(job_id)
        return job_of(row) if job is None or job.version != version else with_status(job, row[3])

    def read(self, rows: Iterable[Row]) -> dict[str, Job]:
        """The jobs of rows of ``READ_JOB_COLUMNS``, in their order.

        Left out are those that cannot be read, after a line in the log.
        """
        found = {}
        for row in rows:
            try:
                found[str(row[0])] = self.of(row)
            except StoreCorrupt as error:
                log.error("job.unreadable", error=str(error))  # noqa: TRY400  # it says it all
        return found

    def _fetch(
        self, conn: Connection, statements: Statements, ids: Sequence[str]
    ) -> dict[str, Job]:
        found: dict[str, Job] = {}
        for start in range(0, len(ids), CHUNK):
            found.update(self.read(statements.jobs(conn, ids[start : start + CHUNK])))
        self.put(found.values())
        return found

    def _keep(self, job: Job) -> None:
        job_id = job.id
        young = self._young
        if self._old.pop(job_id, None) is None and job_id not in young:
            if len(young) >= self._capacity:
                self._old, young = young, {}
                self._young = young
            if len(young) + len(self._old) >= self._capacity:
                self._old.popitem()
        young[job_id] = job
