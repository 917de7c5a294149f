"""A gateway's spool in a process of its own, to be killed, or to run into the end of its disk.

python spool_process.py DATA_DIR GATEWAY_ID kill     offer without end; say how many are durable, line by line
python spool_process.py DATA_DIR GATEWAY_ID full     files end at 256 KiB until told otherwise; print the counts as JSON
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from gateway.spool import Spool, open_spool
from tests.tutelage.capture.raws import attempt, chat_body, exchange, settings


def offer_until_killed(spool: Spool, gateway: str) -> None:
    """Ids are in order: what is said to be durable is the first so many."""
    said = number = 0
    while True:
        for _ in range(20):
            spool.offer(exchange(id=f"{gateway}-{number:08d}"))
            number += 1
        counts = spool.counts()
        if counts.durable > said:
            said = counts.durable
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
        time.sleep(0.002 if counts.in_queue < 1000 else 0.05)


async def fill_the_disk(spool: Spool) -> None:
    def offer(count: int) -> None:
        for _ in range(count):
            spool.offer(exchange(attempt(chat_body("x" * 20_000))))
        while spool.counts().in_queue:
            time.sleep(0.005)

    before = spool.counts()
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, resource.RLIM_INFINITY))
    offer(60)
    during = spool.counts()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    offer(20)
    after = await spool.drain(10)
    told = [
        {"eligible": c.eligible, "durable": c.durable, "balance": c.balance, **c.dropped}
        for c in (before, during, after)
    ]
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    place, name, what = sys.argv[1:]
    opened = open_spool(settings(Path(place), spool_records=10_000), name)
    if what == "kill":
        offer_until_killed(opened, name)
    else:
        asyncio.run(fill_the_disk(opened))
