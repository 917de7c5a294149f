"""Pseudonyms: keyed hashes under which people and values are known in records.

The key is `data_dir/secret`: 32 random bytes in hex, made by whoever needs it first, readable by its owner only. Whoever
has the key and a value finds what is stored of it (that is how erasure works); nobody else learns anything. Losing the
file makes new pseudonyms out of the same people. Must not know what is hashed.
"""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from tutelage.contracts.errors import ConfigurationError

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Keyed hashes with one key."""

    key: bytes

    def of(self, kind: str, value: str, *, hex_chars: int = 32) -> str:
        """The pseudonym of `value`; `kind` ("conversation", "subject", "email", at most 16 bytes) keeps uses apart."""
        text = value.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=hex_chars // 2, key=self.key, person=kind.encode()).hexdigest()

    def __repr__(self) -> str:
        return "Pseudonyms(key=…)"


def load_pseudonyms(data_dir: Path) -> Pseudonyms:
    """The key of `data_dir`, made where there is none: processes that start together agree on one.

    Raises ConfigurationError where the file is damaged or cannot be made.
    """
    path = data_dir / "secret"
    try:
        if not path.exists():
            _make(path)
        key = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}: make data_dir writable for this user") from error
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{path} is not {2 * KEY_BYTES} hex digits: restore it from a backup, or delete it")
    return Pseudonyms(key)


def _make(path: Path) -> None:
    """Write beside, then link: the name appears with its whole content, and only once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first
    finally:
        draft.unlink(missing_ok=True)
