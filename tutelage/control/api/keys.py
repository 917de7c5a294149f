"""Keys: list, create, revoke. A key is shown once, when it is made; at rest there is its SHA-256."""

import hashlib
from typing import Literal

from fastapi import APIRouter, status
from msgspec.structs import asdict
from pydantic import BaseModel, ConfigDict, Field

from tutelage.contracts.errors import UnknownName
from tutelage.contracts.keys import Key, KeyLimits
from tutelage.contracts.records import Json
from tutelage.control.api.access import Admin, AtDesk
from tutelage.serve import new_secret
from tutelage.store.base import Audit, Store

router = APIRouter(prefix="/admin/keys")


class NewLimits(BaseModel):
    """None: the default of `limits.key` in the configuration."""

    model_config = ConfigDict(extra="forbid")

    max_concurrency: int | None = Field(None, ge=1)
    rpm: int | None = Field(None, ge=1)
    tpm: int | None = Field(None, ge=1)
    usd_per_day: float | None = Field(None, ge=0)


class NewKey(BaseModel):
    """What a key may do. The strictest of route, key and request wins."""

    model_config = ConfigDict(extra="forbid")

    tenant: str = Field("default", min_length=1, max_length=128)
    label: str = Field("", max_length=256)
    role: Literal["data", "admin"] = "data"
    may_pin: bool = False
    may_log: bool = True
    may_train: bool = True
    may_pass_through: bool = True
    limits: NewLimits | None = None


@router.get("")
async def list_keys(_: Admin, desk: AtDesk) -> Json:
    """Every key, without its secret."""
    return {"keys": [_shown(key) for key in await desk.ask(lambda store: store.keys())]}


@router.post("", status_code=status.HTTP_201_CREATED)
async def create_key(wanted: NewKey, admin: Admin, desk: AtDesk) -> Json:
    """A new key: `key` is in this answer and nowhere else."""
    plain, now = new_secret(), desk.clock()
    key = Key(
        id=desk.new_id(now),
        digest=hashlib.sha256(plain.encode()).hexdigest(),
        created_at=now,
        **wanted.model_dump(exclude={"limits"}),
        limits=None if wanted.limits is None else KeyLimits(**wanted.limits.model_dump()),
    )

    def put(store: Store) -> None:
        store.put_key(key)
        store.audit(
            Audit(at=now, actor=admin.id, action="create key", subject=key.id, reason=f"{key.role} of {key.tenant}")
        )

    await desk.ask(put)
    return {"key": plain, **_shown(key)}


@router.delete("/{key_id}")
async def revoke_key(key_id: str, admin: Admin, desk: AtDesk) -> Json:
    """Revoke a key: gateways refuse it within a second. 404 where there is none that is not revoked."""
    now = desk.clock()

    def revoke(store: Store) -> None:
        if not store.revoke_key(key_id, now):
            raise UnknownName(f"no key {key_id[:128]!r} that is not revoked already; GET /admin/keys lists them")
        store.audit(Audit(at=now, actor=admin.id, action="revoke key", subject=key_id, reason="revoked by an admin"))

    await desk.ask(revoke)
    return {"id": key_id, "revoked_at": now}


def _shown(key: Key) -> dict[str, Json]:
    return {
        "id": key.id,
        "role": key.role,
        "tenant": key.tenant,
        "label": key.label,
        "may_pin": key.may_pin,
        "may_log": key.may_log,
        "may_train": key.may_train,
        "may_pass_through": key.may_pass_through,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
        "limits": None if key.limits is None else asdict(key.limits),
    }
