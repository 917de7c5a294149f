"""What each recorded model reached on the held-out inputs, by their labels."""

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev, quantiles

from tutelage.demo.recording import MODELS, TEACHER, Row


def answer_of(row: Row, model: str) -> str:
    """The text that `model` answered, without white space around it."""
    content = json.loads(row.answers[model].body)["choices"][0]["message"]["content"]
    return str(content or "").strip()


def scorecard(rows: Sequence[Row], labels: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """By model: accuracy, agreement with the teacher, mean and sd of d, median and 95 % latency in ms."""
    correct = {name: [answer_of(row, name) == labels[row.input] for row in rows] for name in MODELS}
    card = {}
    for name in MODELS:
        d = [int(mine) - int(theirs) for mine, theirs in zip(correct[name], correct[TEACHER], strict=True)]
        agree = [answer_of(row, name) == answer_of(row, TEACHER) for row in rows]
        cuts = quantiles((row.answers[name].total_ms for row in rows), n=20)
        card[name] = {
            "inputs": len(rows),
            "accuracy": round(fmean(correct[name]), 4),
            "agreement": round(fmean(agree), 4),
            "mean_d": round(fmean(d), 4),
            "sd_d": round(pstdev(d), 4),
            "p50_ms": round(cuts[9], 1),
            "p95_ms": round(cuts[18], 1),
        }
    return card
