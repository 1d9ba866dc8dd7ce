"""Who may do what: roles, actions, and the grant that a key carries.

A grant answers three questions and decides nothing else: may it do this (``allows``), in this
namespace (``reaches``), to a job with these tags (``sees``)? ``covers`` compares two grants, so
that nobody hands out more than they have.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

EVERYWHERE = "*"
"""Stands for all namespaces in a grant; no namespace is called so."""

DEFAULT_NAMESPACE = "default"

_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


class Role(StrEnum):
    """What a key is for, from the least to the most; each may do whatever the one before may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"


class Action(StrEnum):
    """What a route needs, and what a key can be narrowed to."""

    READ = "read"
    TRIGGER = "trigger"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    CANCEL = "cancel"
    PING = "ping"
    DEFINE = "define"
    ADMIN = "admin"


_VIEWER = frozenset({Action.READ})
_OPERATOR = _VIEWER | {
    Action.TRIGGER,
    Action.PAUSE,
    Action.RESUME,
    Action.RETRY,
    Action.CANCEL,
    Action.PING,
}
_EDITOR = _OPERATOR | {Action.DEFINE}

ALLOWED: dict[Role, frozenset[Action]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.EDITOR: _EDITOR,
    Role.ADMIN: _EDITOR | {Action.ADMIN},
}
"""The actions of each role."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a key may do, where, and to which jobs."""

    role: Role
    namespace: str = DEFAULT_NAMESPACE
    """A name, or ``EVERYWHERE``."""
    tags: frozenset[str] | None = None
    """Only jobs that carry one of these; ``None``: all of the namespace."""
    actions: frozenset[Action] | None = None
    """Only these of what the role allows; ``None``: all of it."""

    @property
    def allowed(self) -> frozenset[Action]:
        """The actions that are left of the role's."""
        whole = ALLOWED[self.role]
        return whole if self.actions is None else whole & self.actions

    @property
    def everywhere(self) -> bool:
        """Whether it holds in all namespaces."""
        return self.namespace == EVERYWHERE

    def allows(self, action: Action) -> bool:
        """Whether it may do this at all."""
        return action in ALLOWED[self.role] and (self.actions is None or action in self.actions)

    def reaches(self, namespace: str) -> bool:
        """Whether it holds in a namespace."""
        return self.namespace in {EVERYWHERE, namespace}

    def sees(self, tags: Iterable[str]) -> bool:
        """Whether a job with these tags exists for it."""
        return self.tags is None or not self.tags.isdisjoint(tags)

    def covers(self, other: "Grant") -> bool:
        """Whether whatever the other may do, this may do too."""
        return (
            other.allowed <= self.allowed
            and self.reaches(other.namespace)
            and (self.tags is None or (other.tags is not None and other.tags <= self.tags))
        )


UNLIMITED = Grant(role=Role.ADMIN, namespace=EVERYWHERE)
"""All of it: the first key, and everybody where authentication is off."""


def is_namespace(text: str) -> bool:
    """Whether a text can name a namespace."""
    return _NAMESPACE.fullmatch(text) is not None
