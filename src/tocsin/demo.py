"""The jobs that ``--demo`` puts into an empty database: one of each kind, for people to look at."""

import time
from typing import Any

from tocsin.domain.instant import SECOND, Millis, format_instant

ECHO = "/api/v1/demo/echo"
"""Answers with what it was sent; with ``?fail=N`` the first N attempts get a 503."""


def demo_jobs(base_url: str, *, now: Millis | None = None) -> list[dict[str, Any]]:
    """Definitions in the shape of the API that call the node at ``base_url`` itself.

    The one-shot job is due 15 seconds after ``now``, by default the present.
    """
    now = time.time_ns() // 1_000_000 if now is None else now
    echo = base_url.rstrip("/") + ECHO
    jobs: list[dict[str, Any]] = [
        {
            "name": "hello-every-5s",
            "description": "Says hello to the built-in echo endpoint",
            "schedule": {"every": "5s"},
            "target": {
                "url": echo,
                "body": {"hello": "world", "fire_time": "{{ fire_time }}"},
                "timeout": "5s",
            },
        },
        {
            "name": "flaky-every-20s",
            "description": "Fails twice, and succeeds at the third attempt",
            "schedule": {"every": "20s"},
            "target": {
                "url": f"{echo}?fail=2",
                "body": {"attempt": "{{ attempt }}", "execution": "{{ execution_id }}"},
                "timeout": "5s",
            },
            "retry": {"max_attempts": 3, "initial": "1s", "factor": 2},
        },
        {
            "name": "minute-report",
            "description": "Every minute at second 30; never two at once",
            "schedule": {"cron": "30 * * * * *", "timezone": "Europe/Berlin"},
            "target": {
                "url": echo,
                "headers": {"X-Report": "{{ job_name }}"},
                "body": {"report": "minute", "fire_time": "{{ fire_time }}"},
                "timeout": "10s",
            },
            "overlap": "skip",
        },
        {
            "name": "one-shot",
            "description": "Calls once, and is completed",
            "schedule": {"at": format_instant(now + 15 * SECOND)},
            "target": {"url": echo, "body": {"message": "this happens only once"}},
        },
        {
            "name": "reminder",
            "description": "Writes a line into the log instead of calling somebody",
            "schedule": {"every": "1m"},
            "target": {"log": "Stretch your legs"},
        },
    ]
    return [job | {"tags": ["demo"]} for job in jobs]
