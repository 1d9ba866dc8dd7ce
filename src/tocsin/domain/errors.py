"""Every error that Tocsin raises on purpose.

::

    TocsinError
    ├── InvalidInput         what was asked for is malformed; names each offending field
    ├── NotFound             no such job, execution or page
    ├── Forbidden            who asks may not do that
    ├── Conflict             the state of things forbids it (name taken, wrong status)
    ├── CapacityExceeded     a configured limit is reached
    └── StoreError           the store could not do it
        ├── StoreUnavailable    locked, gone or out of reach: worth another try
        ├── StoreFull           no space left to write to
        ├── StoreCorrupt        the data on disk cannot be read
        ├── SchemaMismatch      the tables are older or newer than this program
        └── Revoked             this incarnation's lease was ended by another node

Each carries a stable ``code`` for programs; the message names the subject and the remedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldProblem:
    """One offending field: its dotted path, what is wrong and what would be accepted."""

    field: str
    message: str
    code: str = "invalid"


class TocsinError(Exception):
    """The root; catch it to catch whatever Tocsin raises on purpose."""

    code = "error"


class InvalidInput(TocsinError):
    """Input that was refused before anything changed."""

    code = "invalid_input"

    def __init__(self, problems: Sequence[FieldProblem], message: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__(message or "; ".join(f"{p.field}: {p.message}" for p in self.problems))

    @classmethod
    def of(cls, field: str, message: str, code: str = "invalid") -> "InvalidInput":
        """Refuse a single field."""
        return cls([FieldProblem(field=field, message=message, code=code)])

    def under(self, prefix: str) -> "InvalidInput":
        """Give the same problems with each field placed below ``prefix``."""
        return InvalidInput(
            [
                FieldProblem(
                    field=f"{prefix}.{p.field}" if p.field else prefix,
                    message=p.message,
                    code=p.code,
                )
                for p in self.problems
            ]
        )


class NotFound(TocsinError):
    """The thing that was named does not exist (any more)."""

    code = "not_found"


class Forbidden(TocsinError):
    """Who asks may not do that; the message says what it would take."""

    code = "forbidden"


class Conflict(TocsinError):
    """The present state forbids the change; nothing was changed."""

    code = "conflict"

    def __init__(self, message: str, *, code: str = "conflict") -> None:
        super().__init__(message)
        self.code = code


class CapacityExceeded(TocsinError):
    """A configured limit is reached; the message says which one and what to do."""

    code = "capacity_exceeded"

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class StoreError(TocsinError):
    """The store could not do what it was asked for."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """Locked, gone or out of reach; the same call may succeed later.

    Where a commit was under way its outcome is unknown.
    """

    code = "store_unavailable"


class StoreFull(StoreError):
    """No space left to write to; reads still work, nothing was changed."""

    code = "store_full"


class StoreCorrupt(StoreError):
    """The data on disk cannot be read as a Tocsin database."""

    code = "store_corrupt"


class SchemaMismatch(StoreError):
    """The tables are of another version than this program expects."""

    code = "schema_mismatch"


class Revoked(StoreError):
    """Another node ended this incarnation's lease; what it still held now belongs to others."""

    code = "revoked"

    def __init__(self, incarnation: str) -> None:
        super().__init__(f"the lease of incarnation {incarnation} was ended by another node")
        self.incarnation = incarnation
