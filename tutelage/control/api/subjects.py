"""Erasure by subject. Not built yet: it says so by name, so that nobody takes silence for a receipt."""

from fastapi import APIRouter

from gateway.errors import of_status
from tutelage.contracts.records import Json
from tutelage.control.api.access import Admin

router = APIRouter(prefix="/admin/subjects")


@router.delete("/{subject_id}")
async def erase(subject_id: str, _: Admin) -> Json:
    """501: erasure over pairs and spools."""
    refusal = of_status(
        501,
        f"Erasure of subject {subject_id[:128]!r} is not yet supported by this version; "
        "content ends with its route's capture.retention_days.",
    )
    refusal.code = "not_yet_supported"
    raise refusal
