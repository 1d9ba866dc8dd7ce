"""Placeholders: ``{{ fire_time }}`` in a URL, in header values and in the strings of a body.

``{{{{`` writes ``{{``. Templates are parsed when a job is saved, so that a mistake is refused
there and not found out at the fire, and once more where they are rendered.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TypeAlias
from urllib.parse import quote

from tocsin.domain.job import Json

NAMES = ("fire_time", "fire_time_ms", "execution_id", "job_id", "job_name", "attempt")
"""Every placeholder that there is, besides those of secrets."""

SECRET = "secret."  # noqa: S105  # of a placeholder
"""What the name of a secret's placeholder begins with."""

Values: TypeAlias = Mapping[str, str]
"""The text of each of ``NAMES``, and of each ``secret.NAME`` that is used."""

_OPEN = "{{"
_TOKEN = re.compile(r"\{\{\{\{|\{\{\s*([^{}]*?)\s*\}\}|\{\{")
_SECRET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_BEFORE_PATH = re.compile(r"[^:/?#]*://[^/?#]*[/?#]")


class Template:
    """A text with placeholders; ``parse`` and ``parse_url`` make it."""

    __slots__ = ("_encode", "_names", "_texts")

    def __init__(
        self,
        texts: tuple[str, ...],
        names: tuple[str, ...],
        encode: Callable[[str], str] | None = None,
    ) -> None:
        # texts[0] names[0] texts[1] names[1] ... texts[-1]
        self._texts = texts
        self._names = names
        self._encode = encode

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read a text.

        Raises ``ValueError`` for a placeholder that does not exist, naming the nearest one that
        does, and for ``{{`` without its end.
        """
        if _OPEN not in text:
            return cls((text,), ())
        texts: list[str] = []
        names: list[str] = []
        literal, end = "", 0
        for token in _TOKEN.finditer(text):
            literal += text[end : token.start()]
            end = token.end()
            name = token[1]
            if name is None:
                if token[0] == _OPEN:
                    raise ValueError(
                        "has a {{ without its }}; write {{{{ where a literal {{ is meant"
                    )
                literal += _OPEN
                continue
            if name not in NAMES and not is_secret_name(name.removeprefix(SECRET), name):
                raise ValueError(_unknown(name))
            texts.append(literal)
            names.append(name)
            literal = ""
        texts.append(literal + text[end:])
        return cls(tuple(texts), tuple(names))

    @classmethod
    def parse_url(cls, text: str) -> "Template":
        """Read a URL, whose values are percent-encoded.

        Raises ``ValueError`` as ``parse`` does, and for a placeholder in the scheme, host or
        port: it would decide where the call goes.
        """
        template = cls.parse(text)
        if not template._names:
            return template
        if _BEFORE_PATH.match(template._texts[0]) is None:
            raise ValueError(
                f"has {{{{ {template._names[0]} }}}} before its path; "
                "scheme, host and port are fixed"
            )
        return cls(template._texts, template._names, _percent)

    @property
    def constant(self) -> bool:
        """Whether it renders to the same text each time."""
        return not self._names

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that it uses, without ``secret.``."""
        return tuple(name.removeprefix(SECRET) for name in self._names if name.startswith(SECRET))

    def render(self, values: Values, encode: Callable[[str], str] | None = None) -> str:
        """The text with each placeholder replaced by its value.

        Values pass through ``encode``; by default they stand as they are, those of a URL
        percent-encoded. Raises ``KeyError`` where a value is missing.
        """
        texts = self._texts
        if not self._names:
            return texts[0]
        encode = encode or self._encode
        parts = [texts[0]]
        for name, text in zip(self._names, texts[1:], strict=True):
            value = values[name]
            parts.append(value if encode is None else encode(value))
            parts.append(text)
        return "".join(parts)


_Node: TypeAlias = "Template | list[_Node] | dict[str, _Node] | _Fixed"


class _Fixed:
    """A part of a JSON value without placeholders."""

    __slots__ = ("value",)

    def __init__(self, value: Json) -> None:
        self.value = value


class JsonTemplate:
    """A JSON value whose strings may hold placeholders; keys are taken as they are.

    Values are put in before the value is written as JSON, so that quoting is right.
    """

    __slots__ = ("_root",)

    def __init__(self, root: _Node) -> None:
        self._root = root

    @classmethod
    def parse(cls, value: Json) -> "JsonTemplate":
        """Read a value; raises ``ValueError`` as ``Template.parse`` does."""
        return cls(_compile(value))

    @property
    def constant(self) -> bool:
        """Whether it renders to the same value each time."""
        return isinstance(self._root, _Fixed)

    def render(self, values: Values) -> Json:
        """The value with each placeholder replaced; raises ``KeyError`` where one is missing."""
        return _render(self._root, values)


def _compile(value: Json) -> _Node:
    if isinstance(value, str):
        if _OPEN not in value:
            return _Fixed(value)
        template = Template.parse(value)
        return _Fixed(template.render({})) if template.constant else template
    # What holds no string with `{{` stays one piece, so that rendering copies only what changes.
    if isinstance(value, list):
        items = [_compile(item) for item in value]
        fixed = [node.value for node in items if isinstance(node, _Fixed)]
        return _Fixed(fixed) if len(fixed) == len(items) else items
    if isinstance(value, dict):
        fields = {key: _compile(item) for key, item in value.items()}
        plain = {key: node.value for key, node in fields.items() if isinstance(node, _Fixed)}
        return _Fixed(plain) if len(plain) == len(fields) else fields
    return _Fixed(value)


def _render(node: _Node, values: Values) -> Json:
    if isinstance(node, _Fixed):
        return node.value
    if isinstance(node, Template):
        return node.render(values)
    if isinstance(node, list):
        return [_render(item, values) for item in node]
    return {key: _render(item, values) for key, item in node.items()}


def is_secret_name(name: str, placeholder: str = SECRET) -> bool:
    """Whether a secret may be called so: a letter, then up to 99 of a-z, A-Z, 0-9, _ and -."""
    return placeholder.startswith(SECRET) and _SECRET_NAME.fullmatch(name) is not None


def _percent(value: str) -> str:
    return quote(value, safe="")


def _unknown(name: str) -> str:
    if not name:
        return "has an empty placeholder {{ }}; write {{{{ where a literal {{ is meant"
    if name.startswith(SECRET):
        return (
            f"has {{{{ {name[:64]} }}}}, which is not the name of a secret: a letter, then up to "
            "99 letters, digits, _ and -"
        )
    near = get_close_matches(name[:64].lower(), NAMES, n=1)
    hint = f"did you mean {{{{ {near[0]} }}}}?" if near else f"known are {', '.join(NAMES)}"
    return f"has the unknown placeholder {{{{ {name[:64]} }}}}; {hint}"
