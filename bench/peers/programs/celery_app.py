"""Celery with Redis: tasks with an ETA, and beat for those that run every second.

What the worker and beat are told comes from the variable ``PEER``, since their command line is
Celery's.
"""

import json
import os
from pathlib import Path
from typing import Any

import common
import urllib3
from celery import Celery, signals

config: dict[str, Any] = json.loads(os.environ["PEER"])

app = Celery("peer", broker=config["redis"])
app.conf.update(
    # Nobody asks for results ("Optimizing" and the FAQ: do not store what is not read).
    task_ignore_result=True,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    # Short tasks: take many at once ("Optimizing", prefetch limits); those with an ETA are held
    # beside that limit anyway.
    worker_prefetch_multiplier=config["prefetch"],
    worker_hijack_root_logger=False,
    # A task whose ETA is further away than this is delivered again, so it has to be longer than the
    # longest ETA (Redis broker, "Visibility timeout").
    broker_transport_options={"visibility_timeout": 30 * 86_400},
    broker_connection_retry_on_startup=True,
    timezone="UTC",
)

# Light and kept open; Celery's gevent pool makes it cooperative.
receiver = urllib3.PoolManager(maxsize=config["connections"], block=True, retries=False)


@app.task(name="call")
def call(job: int) -> None:
    """Make the call of a job."""
    url = config["receiver"] + common.query(job)
    answer = receiver.request("POST", url, body=common.BODY, headers=common.HEADERS)
    if answer.status != 200:
        raise RuntimeError(f"answered {answer.status}")


app.conf.beat_schedule = {
    f"second-{number}": {"task": "call", "schedule": 1.0, "args": (number,)}
    for number in range(config["per_second_jobs"])
}


@signals.worker_ready.connect
def ready(**_: object) -> None:
    """Tell whoever started the worker."""
    Path(f"{config['ready']}.{os.getpid()}").touch()
