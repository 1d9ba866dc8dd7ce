"""Arrays and rows as this program writes them are what PostgreSQL reads."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.postgres import new_database
from tocsin.store.postgres.arrays import array, columns
from tocsin.store.postgres.copying import copied

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
awkward = st.sampled_from(
    [
        "",
        "\\N",
        "\\.",
        "\r\n",
        "a\tb",
        "NULL",
        "null",
        "{}",
        '"',
        "\\",
        ' a, "b" ',
        "\n\t",
        "\\\\",
        "é",
    ]
)
numbers = st.integers(-(2**63) + 1, 2**63 - 1)
LISTS = {
    "text": st.lists(texts | awkward) | st.lists(texts | awkward | st.none()),
    "bigint": st.lists(numbers) | st.lists(numbers | st.none()),
    "boolean": st.lists(st.booleans()) | st.lists(st.booleans() | st.none()),
    "uuid": st.lists(st.uuids().map(str)),
}


@pytest.fixture(scope="module")
def conn() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(new_database(), autocommit=True) as made:
        yield made


@pytest.mark.parametrize("kind", LISTS)
def test_arrays_are_read_as_they_were_written(conn: psycopg.Connection[Any], kind: str) -> None:
    @given(LISTS[kind])
    def check(values: list[Any]) -> None:
        query = f"SELECT %s::{kind}[]{'::text[]' if kind == 'uuid' else ''}"
        assert conn.execute(query.encode(), (array(values),)).fetchone() == (values,)

    check()


ROWS = st.tuples(
    texts | awkward | st.none(),
    numbers | st.none(),
    st.booleans() | st.none(),
    st.uuids().map(str) | st.none(),
)


@pytest.mark.parametrize("nulls", [True, False])
def test_rows_are_copied_as_they_were_written(conn: psycopg.Connection[Any], nulls: bool) -> None:
    rows_to_copy = ROWS if nulls else ROWS.filter(lambda row: None not in row)
    conn.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS copied "
        "(number int GENERATED ALWAYS AS IDENTITY, a text, b bigint, c boolean, d uuid)"
    )

    @given(st.lists(rows_to_copy, min_size=1, max_size=6), st.integers(1, 2))
    def check(rows: list[Any], times: int) -> None:
        rows = rows * times
        conn.execute("TRUNCATE copied")
        with conn.cursor() as cursor, cursor.copy("COPY copied (a, b, c, d) FROM STDIN") as copy:
            copy.write(copied(rows))
        found = conn.execute("SELECT a, b, c, d::text FROM copied ORDER BY number").fetchall()
        assert found == rows

    check()


def test_rows_become_columns() -> None:
    assert columns([("a", 1, None), ("b", 2, True)]) == ['{"a","b"}', "{1,2}", "{NULL,t}"]


@pytest.mark.parametrize("bad", ["a\0b", "\0", "\ud800"])
@pytest.mark.parametrize("beside", [[], ["a"], [None]])
def test_a_text_that_cannot_be_held_is_refused(bad: str, beside: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        array([*beside, bad])
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        copied([(one,) for one in [*beside, bad]])


@pytest.mark.parametrize("beside", [[], [1], [None]])
@pytest.mark.parametrize("bad", [1 << 63, -(1 << 63)])
def test_an_integer_that_cannot_be_held_is_refused(bad: int, beside: list[Any]) -> None:
    with pytest.raises(OverflowError):
        array([*beside, bad])
    with pytest.raises(OverflowError):
        copied([(one,) for one in [*beside, bad]])
