"""What the engine tells whoever measures it."""

from collections.abc import Sequence
from typing import Protocol

from tocsin.domain.errors import StoreError
from tocsin.domain.execution import Execution


class Meter(Protocol):
    """Takes measurements; must be quick and must not raise."""

    def claimed(self, *, claims: int, seconds: float) -> None:
        """A claim took so many executions in so long."""

    def recorded(self, executions: Sequence[Execution], *, seconds: float) -> None:
        """A batch of results was stored in so long; ended and retried ones."""

    def closed(self, executions: Sequence[Execution]) -> None:
        """Executions ended without this node's call: skipped, cancelled, replaced, lost."""

    def store_failed(self, error: StoreError) -> None:
        """The store could not do something."""


class NoMeter:
    """Measures nothing."""

    def claimed(self, *, claims: int, seconds: float) -> None:
        """Ignore it."""

    def recorded(self, executions: Sequence[Execution], *, seconds: float) -> None:
        """Ignore it."""

    def closed(self, executions: Sequence[Execution]) -> None:
        """Ignore it."""

    def store_failed(self, error: StoreError) -> None:
        """Ignore it."""
