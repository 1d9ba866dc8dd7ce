"""JSON as the store reads it."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.strategies import json_values

from tocsin.domain.codec import json_text
from tocsin.store.rows import load_json


@given(
    st.dictionaries(st.text(max_size=20), st.integers(-(10**30), 10**30) | json_values),
    st.text(st.sampled_from("0123456789 "), max_size=40),
)
def test_integers_of_any_size_are_read_as_they_were_written(
    value: dict[str, object], digits: str
) -> None:
    text = json_text({digits: value})
    assert load_json(text) == json.loads(text) == {digits: value}


@pytest.mark.parametrize("before", range(10))
@pytest.mark.parametrize("digits", [16, 17, 18, 19, 20, 40])
def test_a_large_integer_is_exact_wherever_it_stands(before: int, digits: int) -> None:
    number = int("1234567890" * 4) % 10**digits
    assert load_json(json.dumps({"a" * before: number})) == {"a" * before: number}


def test_an_escaped_surrogate_is_read() -> None:
    text = '{"a":"\\ud800"}'
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)
    assert load_json(text) == {"a": "\ud800"}
