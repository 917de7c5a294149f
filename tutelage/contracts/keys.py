"""API keys at rest. The rules are those of `records`."""

from tutelage.contracts.records import SCHEMA_VERSION, Record


class KeyLimits(Record, frozen=True, kw_only=True):
    """What one key may have open, ask per minute and spend per UTC day, on one host. None: the default of `limits.key`."""

    max_concurrency: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    usd_per_day: float | None = None


class Key(Record, frozen=True, kw_only=True):
    """An API key at rest: `digest` is the SHA-256 of the key (256 random bits, so a slow hash buys nothing)."""

    id: str
    digest: str
    tenant: str
    label: str
    created_at: float
    role: str = "data"  # data, admin or internal
    may_pin: bool = False
    may_log: bool = True
    may_train: bool = True
    may_pass_through: bool = True
    revoked_at: float | None = None
    limits: KeyLimits | None = None
    schema: int = SCHEMA_VERSION
