"""A process that claims and does nothing else: ``python -m bench.claimer URL NAME NOW``.

It writes a line when it is ready, begins when it reads one, and ends with its figures as JSON.
"""

import asyncio
import json
import sys
import time
import uuid

from tocsin.domain.planning import plan_fires
from tocsin.store.port import ClaimRequest, Node
from tocsin.store.postgres import PostgresStore

BATCH = 1_000


async def claim(url: str, name: str, now: int) -> None:
    """Claim until nothing is due at the instant ``now``."""
    store = PostgresStore(url)
    await store.open()
    present = time.time_ns() // 1_000_000
    incarnation = str(uuid.uuid4())
    await store.register(
        Node(
            incarnation=incarnation,
            name=name,
            address="",
            version="bench",
            started_at=present,
            heartbeat_at=present,
            lease_until=present + 600_000,
        )
    )
    request = ClaimRequest(
        incarnation=incarnation, now=now, ahead_until=now, ahead_limit=BATCH, exact_limit=BATCH
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    ids: list[str] = []
    cpu, calls = time.process_time(), 0
    while True:
        claimed = await store.claim(request, plan_fires)
        calls += 1
        ids += [one.execution.id for one in claimed.claims]
        # What others are just taking is passed over, and need not be waited for.
        if not claimed.claims:
            break
    ended = time.time()
    cpu = time.process_time() - cpu
    sys.stdout.write(json.dumps({"ids": ids, "cpu": cpu, "ended": ended, "calls": calls}) + "\n")
    sys.stdout.flush()
    await store.close()


if __name__ == "__main__":
    asyncio.run(claim(sys.argv[1], sys.argv[2], int(sys.argv[3])))
