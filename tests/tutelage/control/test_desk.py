"""The desk: who acts does not wait for who reads everything."""

import asyncio
import threading
from pathlib import Path

from tests.tutelage.store.made import key
from tutelage.control.desk import Desk
from tutelage.store.base import Store
from tutelage.store.registry import open_store

ENOUGH_S = 30.0


async def test_a_long_study_keeps_nobody_from_acting(tmp_path: Path):
    desk, over = Desk(lambda: open_store(f"sqlite:///{tmp_path}/t.db")), threading.Event()

    def long(store: Store) -> int:
        over.wait(2 * ENOUGH_S)
        return len(store.keys())

    study = asyncio.ensure_future(desk.study(long))
    try:
        await asyncio.wait_for(desk.ask(lambda store: store.put_key(key())), ENOUGH_S)
        assert not study.done()
    finally:
        over.set()
    assert await study == 1
    await desk.aclose()
