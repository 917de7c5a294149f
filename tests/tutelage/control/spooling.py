"""A spool as a gateway writes it, for tests."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tutelage.contracts.records import Exchange, Feedback, Spooled, encode
from tutelage.store.spool import INSERT, create, spool_path


def spool(data_dir: Path, gateway: str, records: Iterable[Spooled]) -> None:
    """Append records to a gateway's spool in one transaction."""
    path = spool_path(data_dir, gateway)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        create(connection)
        with connection:
            connection.executemany(INSERT, [_row(record) for record in records])


def _row(record: Spooled) -> tuple[str, str, str, float, bytes]:
    if isinstance(record, Exchange):
        return record.id, "exchange", record.route, record.admitted_at, encode(record)
    if isinstance(record, Feedback):
        return record.id, "feedback", "", record.at, encode(record)
    return record.id, "shadow", record.route, record.ended_at, encode(record)
