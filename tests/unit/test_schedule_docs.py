"""The examples of docs/schedules.md, computed."""

import json
import re
from pathlib import Path

import pytest

from tocsin.domain.instant import parse_instant
from tocsin.domain.schedule import parse_schedule

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text()
JSON = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES = re.findall(r"```text\n(\{.*?\})\n(.*?)```", PAGE, re.DOTALL)
WORDS = re.findall(r"^\| `([^`]+)` \| ((?:At|Every|Once) .*) \|$", PAGE, re.MULTILINE)


def test_the_page_has_examples() -> None:
    assert (len(JSON), len(EXAMPLES), len(WORDS)) == (3, 9, 9)


@pytest.mark.parametrize("written", JSON)
def test_what_is_shown_is_accepted(written: str) -> None:
    parse_schedule(json.loads(written), now=0)


@pytest.mark.parametrize(("written", "listed"), EXAMPLES)
def test_fire_times(written: str, listed: str) -> None:
    schedule = parse_schedule(json.loads(written), now=0)
    expected = listed.split()
    fires = schedule.preview_local(parse_instant(expected[0]) - 1, len(expected))
    assert [fire.local for fire in fires] == expected


@pytest.mark.parametrize(("expression", "words"), WORDS)
def test_descriptions(expression: str, words: str) -> None:
    assert parse_schedule({"cron": expression}, now=0).describe() == f"{words}, UTC"
