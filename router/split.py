"""The split: a key's place among 10,000 basis points, and whether it is drawn into a sample.

Ranges are nested: the student has the buckets below its share, so a growing share moves keys one way only, each at most
once, and the same key has the same arm in every process and after every restart. Salts are arguments: another salt is
another, independent shuffle of all keys. Must not know what a key is (see stickiness) or what a share is for (see policy).
"""

from functools import lru_cache
from hashlib import blake2b

from router.types import FULL_BP


def bucket(salt: str, key: str) -> int:
    """The place of `key` in 0..9999, uniform over keys: the first 8 bytes of BLAKE2b of salt and key, modulo 10,000.

    The modulo's bias is below 10,000 / 2^64. `salt` must not contain NUL, which separates the two.
    """
    salted = _salted(salt).copy()
    salted.update(key.encode("utf-8", "surrogatepass"))
    return int.from_bytes(salted.digest(), "big") % FULL_BP


@lru_cache(maxsize=1024)
def _salted(salt: str) -> blake2b:
    """The hash that all keys of a salt begin with."""
    return blake2b(f"{salt}\0".encode("utf-8", "surrogatepass"), digest_size=8)


def is_student(place: int, share_bp: int) -> bool:
    """Whether a key at `place` belongs to the student at a share of `share_bp`."""
    return place < share_bp


def sampled(salt: str, key: str, day: str, rate_bp: int) -> bool:
    """Whether `key` is drawn on `day` (UTC, ISO date) at `rate_bp`; another day is another draw, a higher rate a superset."""
    return rate_bp > 0 and (rate_bp >= FULL_BP or bucket(f"{salt}\0{day}", key) < rate_bp)
