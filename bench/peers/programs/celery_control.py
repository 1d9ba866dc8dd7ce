"""Creates Celery's tasks."""

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import common

os.environ["PEER"] = json.dumps(common.config())

from celery_app import app, call


async def create(command: common.Command) -> Mapping[str, Any]:
    """Create tasks with an ETA, over one connection that stays open."""
    eta = datetime.fromtimestamp(command["at"] / 1_000, UTC)
    with app.producer_pool.acquire(block=True) as producer:

        async def one(number: int) -> None:
            call.apply_async((number,), eta=eta, producer=producer)

        # It has no call for many tasks, and its client is not asynchronous.
        return await common.create({**command, "how": "single", "at_once": 1}, one)


asyncio.run(common.answer({"create": create}))
