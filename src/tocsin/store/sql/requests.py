"""Requests that carried an idempotency key."""

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from tocsin.domain.instant import DAY, Millis
from tocsin.store.port import Request
from tocsin.store.rows import request_of, request_row, storable
from tocsin.store.tables import requests

KEEP: Millis = DAY


_IS_KEY = tuple(requests.c[name] == bindparam(name) for name in ("namespace", "operation", "key"))
_BY_KEY = select(requests).where(*_IS_KEY)
_DROP = delete(requests).where(*_IS_KEY)
_INSERT = insert(requests)


def stored_request(conn: Connection, request: Request | None) -> Request | None:
    """The request that holds the key already."""
    if request is None:
        return None
    return find_request(conn, request.namespace, request.operation, request.key)


def find_request(conn: Connection, namespace: str, operation: str, key: str) -> Request | None:
    """The request with this key."""
    row = conn.execute(
        _BY_KEY, {"namespace": namespace, "operation": operation, "key": storable(key)}
    ).first()
    return None if row is None else request_of(row._asdict())


def store_request(conn: Connection, request: Request | None) -> None:
    """Keep the request with what it was answered."""
    if request is not None:
        conn.execute(_INSERT, request_row(request))


def drop_request(conn: Connection, request: Request | None) -> None:
    """Take back ``store_request``: what was asked for is refused, and its key stays free."""
    if request is not None:
        conn.execute(
            _DROP,
            {
                "namespace": request.namespace,
                "operation": request.operation,
                "key": storable(request.key),
            },
        )


def forget_requests(conn: Connection, before: Millis) -> None:
    """Delete requests that are more than 24 h older than ``before`` or than the newest one.

    The newest stands for the present, which nobody tells; ``before`` alone would keep keys for
    as long as history.
    """
    newest = conn.execute(select(func.max(requests.c.created_at))).scalar()
    if newest is not None:
        conn.execute(delete(requests).where(requests.c.created_at < max(newest, before) - KEEP))
