"""Secrets, as they are stored: encrypted."""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from tocsin.domain.errors import StoreCorrupt
from tocsin.domain.secrets import secrets_of
from tocsin.store.port import StoredSecret
from tocsin.store.rows import READ_JOB_COLUMNS, job_of, storable
from tocsin.store.tables import NOT_DELETED, USES_SECRET, USES_SECRET_POSTGRES, jobs, secrets

_MARK = select(
    func.count(), func.coalesce(func.sum(secrets.c.version), 0), func.max(secrets.c.updated_at)
).select_from(secrets)
_ALL = select(secrets).order_by(secrets.c.namespace, secrets.c.name)
# Both dialects know the clause, but SQLAlchemy has it on each one's own insert only.
_ADD = {
    "sqlite": sqlite.insert(secrets).on_conflict_do_nothing().returning(secrets.c.name),
    "postgresql": postgresql.insert(secrets).on_conflict_do_nothing().returning(secrets.c.name),
}
_USING = {
    dialect: select(*(jobs.c[name] for name in READ_JOB_COLUMNS)).where(
        text(condition), text(NOT_DELETED)
    )
    for dialect, condition in (("sqlite", USES_SECRET), ("postgresql", USES_SECRET_POSTGRES))
}


def secrets_mark(conn: Connection) -> str:
    """A text that changes whenever a secret does."""
    return "/".join(map(str, conn.execute(_MARK).one()))


def list_secrets(conn: Connection) -> Sequence[StoredSecret]:
    """All secrets, by namespace and name."""
    return [
        StoredSecret(**{**row._asdict(), "shown": bool(row.shown)}) for row in conn.execute(_ALL)
    ]


def put_secret(conn: Connection, secret: StoredSecret, *, if_version: int | None) -> bool:
    """Store a secret, on condition that the stored one has this version."""
    row = {column.name: getattr(secret, column.name) for column in secrets.columns}
    if if_version is not None:
        same = (
            secrets.c.namespace == secret.namespace,
            secrets.c.name == secret.name,
            secrets.c.version == if_version,
        )
        return conn.execute(update(secrets).where(*same).values(row)).rowcount == 1
    return conn.execute(_ADD[conn.dialect.name], row).first() is not None


def delete_secret(conn: Connection, namespace: str, name: str) -> bool:
    """Delete a secret; whether there was one."""
    found = conn.execute(
        delete(secrets).where(
            secrets.c.namespace == storable(namespace), secrets.c.name == storable(name)
        )
    )
    return found.rowcount == 1


def secret_uses(conn: Connection, namespace: str) -> dict[str, int]:
    """How many jobs use each secret."""
    uses: Counter[str] = Counter()
    using = _USING[conn.dialect.name].where(jobs.c.namespace == storable(namespace))
    for row in conn.execute(using):
        try:
            target = job_of(row).spec.target
            uses.update({name for _, name in secrets_of(target)})
        except (StoreCorrupt, ValueError):
            continue  # Whoever reads the job is told so.
    return dict(uses)
