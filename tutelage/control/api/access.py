"""Who may use the admin plane: a bearer key with role `admin`, not revoked. Data keys open nothing here.

Keys are compared by SHA-256 in constant time. The answer to a wrong key never says what was wrong about it.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request

from gateway.errors import Forbidden, Unauthorized
from tutelage.contracts.keys import Key
from tutelage.control.desk import Desk

_LONGEST_KEY = 512


async def admin(request: Request) -> Key:
    """The admin key that this request carries. Raises Unauthorized, or Forbidden for a good key of another role."""
    presented = _bearer(request.headers.get("authorization", ""))
    desk: Desk = request.app.state.desk
    keys = await desk.ask(lambda store: store.keys())
    key = _matching(presented, keys)
    if key is None or key.revoked_at is not None:
        raise Unauthorized
    if key.role != "admin":
        raise Forbidden("This key is not for the admin plane: make one with `tutelage keys create --admin`.")
    return key


def desk_of(request: Request) -> Desk:
    """The application's desk."""
    desk: Desk = request.app.state.desk
    return desk


Admin = Annotated[Key, Depends(admin)]
AtDesk = Annotated[Desk, Depends(desk_of)]


def _bearer(header: str) -> str:
    scheme, _, presented = header.partition(" ")
    presented = presented.strip()
    if scheme.lower() != "bearer" or not presented or len(presented) > _LONGEST_KEY:
        raise Unauthorized
    return presented


def _matching(presented: str, keys: Sequence[Key]) -> Key | None:
    digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()
    match: Key | None = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            match = key
    return match
