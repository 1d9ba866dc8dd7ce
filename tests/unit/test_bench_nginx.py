"""What the benchmarks read from the log of nginx."""

from pathlib import Path

import pytest
from bench.nginx import configuration, read_line, read_log

ID = "019ac5d3-f400-8000-8000-000000000007"


def test_a_line_is_an_arrival_with_the_instant_in_whole_milliseconds() -> None:
    line = f"1764276000.123\t{ID}\t2\tjob-1\tnightly\t2025-11-27T20:40:00.000Z\tkey\t/ok?job=1\n"
    arrival = read_line(line)
    assert arrival.at_ns == 1_764_276_000_123_000_000  # not what a float would make of it
    assert arrival.execution_id == ID
    assert (arrival.attempt, arrival.job_id, arrival.job_name) == (2, "job-1", "nightly")
    assert arrival.fire_time == "2025-11-27T20:40:00.000Z"
    assert (arrival.key, arrival.path) == ("key", "/ok?job=1")
    assert arrival.fire_ms == int("019ac5d3f400", 16)


def test_headers_that_did_not_come_are_empty() -> None:
    arrival = read_line("1764276000.999\t-\t-\t-\t-\t-\t-\t/ok?job=17&fire=1764276000000\n")
    assert arrival.at_ns == 1_764_276_000_999_000_000
    assert arrival.attempt == 0
    assert arrival[1:2] + arrival[3:6] == ("", "", "", "")
    assert arrival.key == ""
    assert arrival.path == "/ok?job=17&fire=1764276000000"


def test_marks_are_no_arrivals(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "1.001\t-\t-\t-\t-\t-\t-\t/ok?job=1\n"
        "1.002\t-\t-\t-\t-\t-\t-\t/_/mark?n=1\n"
        "1.003\t-\t-\t-\t-\t-\t-\t/ok?job=2\n"
    )
    assert [arrival.path for arrival in read_log(log)] == ["/ok?job=1", "/ok?job=2"]


def test_a_line_with_too_few_columns_is_an_error() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        read_line("1764276000.123\t-\t/ok\n")


def test_the_log_format_has_the_columns_that_are_read() -> None:
    text = configuration(Path("/home/of/it"), 1234, Path("/home/of/it/log"))
    (line,) = (line for line in text.splitlines() if "log_format" in line)
    assert line.count("\\t") == 7  # nginx makes tabs of them
    assert "$msec\\t$http_webhook_id" in line
    assert "$request_uri';" in line
    assert "access_log /home/of/it/log arrivals" in text
