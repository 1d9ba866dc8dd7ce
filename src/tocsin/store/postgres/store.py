"""The store on PostgreSQL."""

from collections.abc import Callable

from sqlalchemy import Connection

from tocsin.domain.instant import DAY, Millis
from tocsin.store.postgres import partitions
from tocsin.store.postgres.database import STALL, PostgresDatabase
from tocsin.store.postgres.statements import PostgresStatements
from tocsin.store.sql.history import delete_history
from tocsin.store.sql.store import CACHED_JOBS, SqlStore


class PostgresStore(SqlStore):
    """A ``Store`` on a PostgreSQL database of the present schema: ``migrate(url)`` sees to that.

    With ``prepare=False`` no statement is prepared, for poolers that cannot follow. A session that
    idles in a transaction for ``stall`` is ended by the server.
    """

    def __init__(
        self,
        url: str,
        *,
        prepare: bool = True,
        stall: Millis = STALL,
        cached_jobs: int = CACHED_JOBS,
        statements: PostgresStatements | None = None,
    ) -> None:
        self._database = PostgresDatabase(url, prepare=prepare, stall=stall)
        super().__init__(
            self._database, statements or PostgresStatements(), cached_jobs=cached_jobs
        )

    async def time(self) -> Millis | None:
        """The present instant by the server's clock."""
        return await self._database.time()

    async def delete_history(self, *, before: Millis, limit: int) -> int:
        """Delete ended executions with a fire time before an instant.

        A day of history goes as a whole, once all of it is old enough; by the way the days to
        come are made.
        """
        known = await self._database.read(partitions.days)
        for day in await self._database.read(partitions.missing):
            if day + DAY > before:
                await self._change_days(partitions.make, day)
        old = [day for day in known if day + DAY <= before]
        for day in old:
            await self._change_days(partitions.drop, day)
        # Of the day in which the instant lies nothing is deleted one by one, only to be dropped.
        cut = [day for day in known if day <= before < day + DAY]
        return await self._database.write(
            lambda conn: delete_history(
                conn, before=before, limit=limit, rows_before=cut[0] if cut else before
            )
        )

    async def _change_days(self, change: Callable[[Connection, Millis], bool], day: Millis) -> None:
        try:
            await self._database.write(lambda conn: change(conn, day))
        except Exception as error:
            if not partitions.is_passing(error.__cause__ or error):
                raise
