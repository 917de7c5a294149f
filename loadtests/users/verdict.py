"""The limits of a load test and what came of them. Pure.

Memory: the line through the samples after the first third, which is warm-up. Its slope per hour can be told from noise only in a
long test; a short one is held to an absolute growth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONG_S = 20 * 60
SLOPE_PERCENT_PER_HOUR = 1.0
GROWTH_MB = 16.0
WARM_UP = 1 / 3

Sample = tuple[float, float]
"""Seconds since the start, resident MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What the clients counted."""

    requests: int
    failures: int
    p50_ms: float
    p99_ms: float
    requests_per_s: float
    complaints: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the gateway counted: requests by class of status, and capture's conservation law."""

    by_status: Mapping[str, float]
    eligible: float
    durable: float
    dropped: float
    in_queue: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One limit."""

    what: str
    limit: str
    measured: str
    passed: bool


def judged(client: Client, books: Books, memory: Sequence[Sample]) -> tuple[Row, ...]:
    """All limits. No request at all passes none of the first two."""
    counted = sum(books.by_status.values())
    fine = books.by_status.get("2xx", 0.0)
    accounted = books.durable + books.dropped + books.in_queue
    errors = f"{client.failures} of {client.requests}"
    return (
        Row(what="errors", limit="0", measured=errors, passed=client.failures == 0 < client.requests),
        Row(
            what="gateway's count of requests",
            limit=f"{client.requests} (the clients')",
            measured=f"{counted:g}, {fine:g} of them 2xx",
            passed=counted == fine == client.requests,
        ),
        Row(
            what="records captured",
            limit=f"≥ {client.requests}, none lost",
            measured=f"{books.durable:g} durable, {books.dropped:g} dropped, {books.in_queue:g} waiting",
            passed=books.eligible == accounted and books.durable >= client.requests and books.dropped == 0,
        ),
        _memory(memory),
    )


def _memory(samples: Sequence[Sample]) -> Row:
    slope_mb_per_s, seconds, level_mb = line(samples)
    growth_mb = slope_mb_per_s * seconds
    percent = slope_mb_per_s * 3600 / level_mb * 100
    measured = f"{growth_mb:+.1f} MB in {seconds:.0f} s from {level_mb:.0f} MB ({percent:+.1f} %/h)"
    if seconds >= LONG_S:
        limit = f"slope ≤ {SLOPE_PERCENT_PER_HOUR:g} %/h"
        return Row(what="gateway's memory", limit=limit, measured=measured, passed=percent <= SLOPE_PERCENT_PER_HOUR)
    return Row(what="gateway's memory", limit=f"≤ +{GROWTH_MB:g} MB", measured=measured, passed=growth_mb <= GROWTH_MB)


def line(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Least squares after warm-up: MB per second, seconds covered, level in the beginning. Raises ValueError below three
    samples."""
    kept = [sample for sample in samples if sample[0] >= samples[-1][0] * WARM_UP] if samples else []
    if len(kept) < 3:
        raise ValueError(f"{len(kept)} samples of memory after warm-up: three are needed for a line")
    mean_t = sum(t for t, _ in kept) / len(kept)
    mean_m = sum(m for _, m in kept) / len(kept)
    slope = sum((t - mean_t) * (m - mean_m) for t, m in kept) / sum((t - mean_t) ** 2 for t, _ in kept)
    return slope, kept[-1][0] - kept[0][0], mean_m + slope * (kept[0][0] - mean_t)


def text(rows: Sequence[Row], client: Client) -> str:
    """The report; its last line says passed or FAILED."""
    cells = [("", "limit", "measured"), *((row.what, row.limit, row.measured) for row in rows)]
    widths = [max(len(cell[column]) for cell in cells) for column in range(3)]
    marks = ["", *("passed" if row.passed else "FAILED" for row in rows)]
    lines = [
        "  ".join(f"{cell:{width}}" for cell, width in zip(each, widths, strict=True)) + f"  {mark}"
        for each, mark in zip(cells, marks, strict=True)
    ]
    lines += [f"complaint: {each}" for each in client.complaints]
    lines.append(
        f"{client.requests_per_s:.0f} requests/s, p50 {client.p50_ms:g} ms, p99 {client.p99_ms:g} ms (not judged)"
    )
    lines.append("passed" if all(row.passed for row in rows) else "FAILED")
    return "\n".join(lines)
