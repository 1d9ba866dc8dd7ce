"""Rules over HTTP status codes."""

import pytest

from tocsin.domain.codes import CodeRule


@pytest.mark.parametrize(
    ("tokens", "inside", "outside"),
    [
        (["2xx"], [200, 204, 299], [199, 300]),
        (["404"], [404], [403, 405]),
        (["500-504"], [500, 502, 504], [499, 505]),
        (["204-204"], [204], [203, 205]),
        (["1xx", "404", "500-501"], [100, 199, 404, 500, 501], [200, 405, 502]),
        (["2XX"], [200], [300]),
        (["100-599"], [100, 599], [99, 600]),
        ([], [], [200]),
    ],
)
def test_which_codes_a_rule_holds(tokens: list[str], inside: list[int], outside: list[int]) -> None:
    rule = CodeRule(tokens)
    assert [code for code in inside if code not in rule] == []
    assert [code for code in outside if code in rule] == []


def test_no_status_is_in_no_rule() -> None:
    assert None not in CodeRule(["1xx", "2xx", "3xx", "4xx", "5xx"])


@pytest.mark.parametrize(
    "token",
    ["", "xx", "6xx", "0xx", "20", "2000", "600", "200-", "-200", "200-600", "2xx-3xx", "ok"],
)
def test_anything_else_is_refused_with_what_is_accepted(token: str) -> None:
    with pytest.raises(ValueError, match=r"write a family \(2xx\), a code \(404\) or a range"):
        CodeRule([token])


@pytest.mark.parametrize("token", [" 200", "200\n", "٢٠٠"])
def test_only_plain_digits_without_space_are_accepted(token: str) -> None:
    with pytest.raises(ValueError, match="is not a status rule"):
        CodeRule([token])


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="runs backwards"):
        CodeRule(["504-500"])


def test_rules_compare_by_their_tokens() -> None:
    assert CodeRule(["2xx", "404"]) == CodeRule(["2xx", "404"])
    assert hash(CodeRule(["2xx"])) == hash(CodeRule(["2xx"]))
    assert CodeRule(["200"]) != CodeRule(["201"])
    assert CodeRule(["2xx"]) != "2xx"
    assert CodeRule(["2xx"]).tokens == ("2xx",)
