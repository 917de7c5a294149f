"""A state as bytes: canonical JSON, so that equal states are equal bytes, whoever folded them and in what batches.

Owns   `encode`, `decode`. What is computed from counts, the log-capital, is not written.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from router.rollout import Since
from scoring.evidence import Evidence
from scoring.gates.accounts import Account, reopened
from scoring.gates.caps import Block
from scoring.gates.fastlane import Comparison
from scoring.gates.labels import Awaited, Labels
from scoring.gates.latency import Baselines
from scoring.gates.order import Order
from scoring.gates.state import State
from scoring.gates.streams import Wiring
from scoring.gates.tally import Tallies, Tally


def encode(state: State) -> bytes:
    """Canonical JSON: equal states give equal bytes."""
    return msgspec.json.encode(
        {
            "epoch": state.epoch,
            "wiring": state.wiring.value,
            "since": {name: getattr(state.since, name) for name in Since.__slots__},
            "cells": [_plain(state.cells[place]) for place in sorted(state.cells)],
            "fresh": _plain(state.fresh),
            "streams": [[*stream, state.streams[stream].tolist()] for stream in sorted(state.streams)],
            "named": {name: list(state.named[name]) for name in sorted(state.named)},
            "baselines": {read: _sorted(state.baselines[read]) for read in sorted(state.baselines)},
            "comparisons": {name: _sorted(state.comparisons[name]) for name in sorted(state.comparisons)},
            "blocks": {name: _block_plain(state.blocks[name]) for name in sorted(state.blocks)},
            "labels": _labels_plain(state.labels),
            "tallies": _sorted(state.tallies),
            "entered": state.entered,
            "order": [state.order.n, state.order.total_milli, state.order.rows.tolist()],
            "traffic": {where: state.traffic[where] for where in sorted(state.traffic)},
        }
    )


def decode(body: bytes) -> State:
    """The state that `encode` wrote. Raises msgspec.DecodeError or KeyError when it is none."""
    plain: Any = msgspec.json.decode(body)
    cells = [_account(cell) for cell in plain["cells"]]
    return State(
        epoch=plain["epoch"],
        wiring=Wiring(plain["wiring"]),
        since=Since(**plain["since"]),
        cells={(cell.evidence.cell.slice, cell.evidence.cell.metric): cell for cell in cells},
        fresh=_account(plain["fresh"]),
        streams={
            (direction, where, metric): np.array(rows, dtype=np.float64)
            for direction, where, metric, rows in plain["streams"]
        },
        named={name: tuple(values) for name, values in plain["named"].items()},
        baselines=msgspec.convert(plain["baselines"], dict[str, Baselines]),
        comparisons=msgspec.convert(plain["comparisons"], dict[str, Comparison]),
        blocks={name: _block(block) for name, block in plain["blocks"].items()},
        traffic=plain["traffic"],
        tallies=msgspec.convert(plain["tallies"], dict[str, Tally]),
        entered=plain["entered"],
        labels=_labels(plain["labels"]),
        order=_order(*plain["order"]),
    )


def _labels_plain(labels: Labels) -> dict[str, Any]:
    return {
        "position": labels.position,
        "counts": [[*key, n] for key, n in sorted(labels.counts.items())],
        "unsaid": [[*key, n] for key, n in sorted(labels.unsaid.items())],
        "block": _block_plain(labels.block),
        "awaited": labels.awaited,
    }


def _labels(plain: dict[str, Any]) -> Labels:
    return Labels(
        position=plain["position"],
        counts={(w, f, h): n for w, f, h, n in plain["counts"]},
        unsaid={(w, f): n for w, f, n in plain["unsaid"]},
        block=_block(plain["block"]),
        awaited=msgspec.convert(plain["awaited"], Awaited | None),
    )


def _block_plain(block: Block) -> dict[str, Any]:
    return {"seen": block.seen, "keys": sorted(block.keys.items())}


def _block(plain: dict[str, Any]) -> Block:
    return Block(seen=plain["seen"], keys=dict(plain["keys"]))


def _plain(account: Account) -> dict[str, Any]:
    return {"null_mean": account.null_mean, **account.evidence.to_plain()}


def _sorted(plain: Baselines | Comparison | Tallies) -> Any:
    return msgspec.to_builtins(plain, order="sorted")


def _order(n: int, total_milli: int, rows: list[list[float]]) -> Order:
    return Order(n=n, total_milli=total_milli, rows=np.array(rows, dtype=np.float64))


def _account(plain: dict[str, Any]) -> Account:
    return reopened(Evidence.from_plain(plain), float(plain["null_mean"]))
