"""How values are written in the configuration: durations, shares, times, addresses, names, secrets; and the base of its sections.

Shares become basis points, durations seconds, dates the end of their day (UTC). Secrets stay names: `${NAME}` is resolved by
whoever makes the call, never stored or published. Whoever reads what a person wrote says so by the context WRITTEN: a bare
number is a share in basis points only where the program itself published it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from router.types import FULL_BP

WRITTEN: Mapping[str, bool] = {"written": True}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PORTS = 65_535
_SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):(\d{1,5})")
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]"
_NAME = rf"^{_WORD}{{0,127}}$"
PART = ":"
"""Between a route's name and the value of a part of it (`tutelage.contracts.parts`)."""
_VALUE = rf"{_WORD}{{0,63}}"


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write 30s, 5m, 1h, 7d or 250ms")
    return float(match[1]) * _SECONDS[match[2]]


def _basis_points(value: object, info: ValidationInfo) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and (value == 0 or info.context is None):
        return value
    text = value.strip() if isinstance(value, str) else ""
    match = re.fullmatch(r"(\d+(?:\.\d{1,2})?)\s*%", text)
    share = round(float(match[1]) * 100) if match else -1
    if not 0 <= share <= FULL_BP:
        raise ValueError(f"{value!r} is not a share: write it in percent, 0% to 100%, at most two decimals")
    return share


def _address(value: object) -> str:
    match = _ADDRESS.fullmatch(value.strip()) if isinstance(value, str) else None
    if not isinstance(value, str) or match is None or int(match[1]) > _PORTS:
        raise ValueError(f"{value!r} is not an address: write HOST:PORT, such as 0.0.0.0:8080 or [::1]:8080")
    return value.strip()


def _secret_name(value: str) -> str:
    if not _SECRET.fullmatch(value):
        raise ValueError("write a secret as ${NAME} and put its value into that environment variable")
    return value


def _end_of_day(value: object) -> float:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        value = datetime.fromisoformat(value) if "T" in value or " " in value else date.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return (datetime.combine(value, time.min, UTC) + timedelta(days=1)).timestamp()
    raise ValueError(f"{value!r} is not a time: write 2026-11-01 (the end of that day, UTC) or 2026-11-01T12:00:00Z")


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
Wait = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""A deadline: with none at all nothing would ever be in time."""
BasisPoints = Annotated[int, BeforeValidator(_basis_points), Field(ge=0, le=FULL_BP)]
Address = Annotated[str, BeforeValidator(_address)]
Secret = Annotated[str, AfterValidator(_secret_name)]
Instant = Annotated[float, BeforeValidator(_end_of_day)]
Name = Annotated[str, Field(pattern=_NAME)]
SliceValue = Annotated[str, Field(pattern=rf"^{_VALUE}$")]
RouteName = Annotated[str, Field(pattern=rf"^{_WORD}{{0,127}}({PART}{_VALUE})?$")]


class Section(BaseModel):
    """Base: unknown keys are refused, and numbers without an end; values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
