"""Which database a URL names, and that a wrong one does not give away its password."""

import pytest

from tocsin import databases
from tocsin.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///tocsin.db", "sqlite"),
        ("postgresql://u:p@h/d", "postgresql"),
        ("postgres://h/d", "postgresql"),
    ],
)
def test_kinds(url: str, kind: str) -> None:
    assert databases.kind_of(url) == kind


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/d",
        "u:hunter2@h/d",
        "postgresql//hunter2@h/d",
        "h/d?user=u&password=hunter2",
        "postgres:d?PASSWORD=hunter2",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        databases.kind_of(url)
    assert "hunter2" not in str(refused.value)
    assert "postgresql://USER" in str(refused.value)


def test_a_file_without_its_scheme_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"tocsin\.db"):
        databases.kind_of("tocsin.db")
