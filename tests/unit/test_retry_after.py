"""The wait that an answer asks for, whatever a target may write there."""

import pytest
from tests.support.build import NOW

from tocsin.delivery.deliver import retry_after
from tocsin.domain.instant import parse_instant

AT = parse_instant("2026-12-24T18:00:00Z")


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0),
        (" 120 ", 120_000),
        ("9" * 5_000, 10**12),
        ("Thu, 24 Dec 2026 18:00:07 GMT", 7_000),
        ("Thu, 24 Dec 2026 17:59:59 GMT", 0),
    ],
)
def test_seconds_or_a_date(value: str, wait: int) -> None:
    assert retry_after(value, AT) == wait


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "1.5",
        "\u0661",
        "Thu, 24 Dec 2026 25:00:00 GMT",
        f"Thu, 24 Dec {'9' * 20} 18:00:00 GMT",
        f"Thu, {'9' * 20} Dec 2026 18:00:00 GMT",
        f"Thu, 24 Dec 2026 {'9' * 20}:00:00 GMT",
        f"Thu, 24 Dec 2026 18:00:00 +{'9' * 20}",
        "9" * 20 + " Dec 2026",
    ],
)
def test_what_is_neither_asks_for_nothing(value: str) -> None:
    assert retry_after(value, NOW) is None
