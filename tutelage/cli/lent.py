"""A key for the time of one command: made in the store, revoked when the command ends, however it ends."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tutelage.contracts.ids import uuid7
from tutelage.contracts.keys import Key
from tutelage.store.base import Store


@contextmanager
def lent_key(store: Store, label: str, **rights: Any) -> Iterator[str]:
    """A key of tenant `tutelage` with `rights` (fields of `Key`). What is asked with it never trains."""
    from tutelage.serve import new_secret

    plain, now = new_secret(), time.time()
    digest = hashlib.sha256(plain.encode()).hexdigest()
    key = Key(
        id=uuid7(now), digest=digest, tenant="tutelage", label=label, created_at=now, may_train=False, **rights
    )  # fmt: skip
    store.put_key(key)
    try:
        yield plain
    finally:
        store.revoke_key(key.id, time.time())
