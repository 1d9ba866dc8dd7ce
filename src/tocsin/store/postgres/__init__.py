"""The store on PostgreSQL: one scheduler on any number of hosts.

::

    store       the port
    statements  what runs per fire or in bulk, on the driver below SQLAlchemy
    queries     the SQL of these
    arrays      how their batches are written
    database    connections, threads and transactions
    partitions  the days of `executions`
    schema      creating, migrating and checking the tables
    notices     messages between nodes, as notifications
    errors      what PostgreSQL reports, as errors of Tocsin
"""

from tocsin.store.postgres.notices import Notices
from tocsin.store.postgres.schema import check, migrate
from tocsin.store.postgres.store import PostgresStore

__all__ = ["Notices", "PostgresStore", "check", "migrate"]
