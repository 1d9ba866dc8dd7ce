"""The store in one SQLite file: the embedded database, for one host.

::

    store       the port, method by method
    statements  what runs per fire or in bulk, on the driver below SQLAlchemy
    queries     the SQL of these
    engine      connections and transactions
    runner      where the functions run: in threads, or inline
    schema      creating, migrating and checking the file
    errors      what SQLite reports, as errors of Tocsin
"""

from tocsin.store.sqlite.runner import Inline, Runner, Threads
from tocsin.store.sqlite.schema import check, migrate
from tocsin.store.sqlite.store import SqliteStore

__all__ = ["Inline", "Runner", "SqliteStore", "Threads", "check", "migrate"]
