"""What a route needs of who calls it. Each says so; one that does not is refused at the start.

::

    @app.post("/api/v1/jobs", ...)
    @needs(Action.DEFINE)
    async def create_job(request: Request) -> Response: ...
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tocsin.domain.access import Action

_NEED = "tocsin_need"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What it takes to call a route."""

    public: bool = False
    """Nothing: not even a key."""
    action: Action | None = None
    """``None``: any key that works."""
    whole: bool = False
    """Not a key that is limited to tags: the answer is about all jobs of the namespace."""
    everywhere: bool = False
    """A key that holds in all namespaces: the answer is about all of them."""
    namespaced: bool = True
    """Whether the request is about one namespace, and may name it."""


def needs(action: Action, *, whole: bool = False, everywhere: bool = False) -> Callable[[F], F]:
    """The route needs a key that may do this, in the namespace of the request."""
    return _declare(Need(action=action, whole=whole, everywhere=everywhere))


def needs_key() -> Callable[[F], F]:
    """The route needs any key that works, or a session of one."""
    return _declare(Need())


def public() -> Callable[[F], F]:
    """Everybody may call the route."""
    return _declare(Need(public=True, namespaced=False))


def need_of(endpoint: Callable[..., Any]) -> Need:
    """What an endpoint has declared; raises ``TypeError`` where that is nothing."""
    need = getattr(endpoint, _NEED, None)
    if not isinstance(need, Need):
        name = getattr(endpoint, "__qualname__", repr(endpoint))
        raise TypeError(f"the route {name} does not declare what it needs: see tocsin.api.needs")
    return need


def _declare(need: Need) -> Callable[[F], F]:
    def mark(endpoint: F) -> F:
        setattr(endpoint, _NEED, need)
        return endpoint

    return mark
