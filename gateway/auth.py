"""Authentication: a bearer key to what it may do, before the body is read.

Keys are known by their SHA-256 only; the dictionary is looked up by digest, so that no comparison's time tells anything of a
key. Must not know of routes or of where keys are stored. One refusal for every reason.
"""

from collections.abc import Mapping
from hashlib import sha256

from gateway.errors import Unauthorized
from gateway.upstreams.base import Headers
from tutelage.contracts.keys import Key

DATA_ROLES = frozenset({"data", "internal"})
MAX_KEY_BYTES = 512


def by_digest(keys: tuple[Key, ...]) -> dict[str, Key]:
    """The keys that open the data plane: not revoked, not an admin's."""
    return {key.digest: key for key in keys if key.role in DATA_ROLES and key.revoked_at is None}


def authenticate(headers: Headers, keys: Mapping[str, Key]) -> Key:
    """The key in the Authorization header. Raises Unauthorized where there is none, more than one, or not one of `keys`."""
    lines = [value for name, value in headers if name == b"authorization"]
    if len(lines) != 1:
        raise Unauthorized
    scheme, _, token = lines[0].partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not 0 < len(token) <= MAX_KEY_BYTES:
        raise Unauthorized
    key = keys.get(sha256(token).hexdigest())
    if key is None:
        raise Unauthorized
    return key
