"""The report as one HTML file: numbers on top, then every input with both answers side by side, worst first.

Owns the markup. Whatever came from a file, a model or a judge goes through `_text`: it is shown, never run. The page has no
script and, by its own policy, could load none. Must not know how the numbers came about.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import msgspec

from scoring.evaluation import ArmSummary, Compared, Summary
from tutelage.contracts.records import Attempt

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
MAX_SHOWN = 20_000
"""Characters of one message or answer that are shown."""

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #ddd}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:13px/1.4 ui-monospace,monospace}
.worse{background:#fdecea}.better{background:#eaf6ec}.note{color:#666}td.number{text-align:right;white-space:nowrap}
"""


def page(title: str, summary: Summary, compared: Sequence[Compared]) -> str:
    """The whole document."""
    ordered = sorted(compared, key=_badness)
    rows = "\n".join(_row(one) for one in ordered)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{_text(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{_text(title)}</h1>\n"
        f"{_verdict(summary)}\n{_arms(summary)}\n"
        "<h2>Every input, the worst for the student first</h2>\n"
        "<table><thead><tr><th>input</th><th>teacher</th><th>student</th><th>d</th></tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody></table>\n</body></html>\n"
    )


def verdict_words(summary: Summary) -> tuple[str, ...]:
    """What the numbers say, in sentences."""
    if summary.mean_d is None:
        return (f"{summary.inputs} inputs, none of which has a score.",)
    interval = "" if summary.low is None else f", 95 % interval {summary.low:+.3f} to {summary.high:+.3f}"
    lines = [
        f"{summary.inputs} inputs, {summary.scored} scored, {summary.ties} ties.",
        f"d = score(student) - score(teacher) is {summary.mean_d:+.3f} on average{interval}.",
    ]
    if summary.suggested_sigma0 is None:
        lines.append("Too few scores to suggest sigma0 and margin.")
    elif summary.suggested_margin is None:
        lines.append(
            f"Suggested sigma0 {summary.suggested_sigma0:g}; no margin up to 0.15 is practical with so much noise."
        )
    else:
        lines.append(
            f"Suggested: rollout: {{sigma0: {summary.suggested_sigma0:g}, margin: {summary.suggested_margin:g}}}. A wider margin "
            "takes fewer pairs; it is how much worse the student may be."
        )
        if summary.high is not None and summary.high < -summary.suggested_margin:
            lines.append("The student is worse than that margin on these inputs: retrain it before it is rolled out.")
    return tuple(lines)


def _verdict(summary: Summary) -> str:
    lines = [*verdict_words(summary)]
    lines += [f"{count} x {name}" for name, count in sorted(summary.failures.items())]
    return "\n".join(f"<p>{_text(line)}</p>" for line in lines)


def _arms(summary: Summary) -> str:
    facts: tuple[tuple[str, Any], ...] = (
        ("score", lambda arm: _number(arm.score, ".3f")),
        ("failures", lambda arm: str(arm.failures)),
        ("median time, ms", lambda arm: _number(arm.median_ms, ",.0f")),
        ("95 % of times below, ms", lambda arm: _number(arm.p95_ms, ",.0f")),
        ("dollars a call", lambda arm: _number(arm.usd_per_call, ".6f")),
    )
    rows = "\n".join(_fact(name, say, summary.teacher, summary.student) for name, say in facts)
    judge = f'<p class="note">judge: {_text(_number(summary.judge_usd, ".4f"))} dollars</p>'
    return (
        f"<table><thead><tr><th></th><th>teacher</th><th>student</th></tr></thead><tbody>{rows}</tbody></table>{judge}"
    )


def _fact(name: str, say: Any, teacher: ArmSummary, student: ArmSummary) -> str:
    return f"<tr><th>{_text(name)}</th><td>{_text(say(teacher))}</td><td>{_text(say(student))}</td></tr>"


def _row(one: Compared) -> str:
    judgement = one.judgement
    d = None if judgement is None else judgement.d
    shade = "" if not d else ' class="worse"' if d < 0 else ' class="better"'
    notes = [] if judgement is None else [f"{s.criterion} {_number(s.d, '+.2f')}" for s in judgement.scores]
    failure = one.unjudged or (judgement.failure if judgement is not None else None)
    notes += [failure] if failure is not None else []
    notes += [judgement.rationale] if judgement is not None and judgement.rationale else []
    noted = "".join(f'<br><span class="note">{_text(note)}</span>' for note in notes)
    return (
        f"<tr{shade}><td>{_request(one.pair.request)}</td><td>{_answer(one.pair.teacher)}</td>"
        f'<td>{_answer(one.pair.student)}</td><td class="number">{_text(_number(d, "+.2f"))}{noted}</td></tr>'
    )


def _request(request: dict[str, Any]) -> str:
    messages = request.get("messages", [])
    last = messages[-1] if messages else {}
    before = (
        f"<details><summary>{len(messages) - 1} before</summary>{_pre(messages[:-1])}</details>" if messages[1:] else ""
    )
    return _pre(last.get("content", "") if isinstance(last, dict) else last) + before


def _answer(attempt: Attempt | None) -> str:
    if attempt is None:
        return '<span class="note">not asked</span>'
    cost = "cost unknown" if attempt.cost_nusd is None else f"${attempt.cost_nusd / 1e9:.6f}"
    note = f'<span class="note">{_text(f"{attempt.total_ms:,.0f} ms, {cost}")}</span>'
    if attempt.error is not None or attempt.answer is None:
        return f"<strong>{_text(attempt.error or 'no answer')}</strong><br>{note}"
    said = attempt.answer
    parts: list[Any] = [part for part in (said.text, said.refusal) if part]
    parts += list(said.tool_calls)
    return "".join(_pre(part) for part in parts or [""]) + note


def _badness(one: Compared) -> tuple[bool, float]:
    """Worst first; what has no score comes last."""
    d = None if one.judgement is None else one.judgement.d
    return (d is None, 0.0 if d is None else d)


def _pre(value: Any) -> str:
    plain = value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8", "replace")
    cut = plain if len(plain) <= MAX_SHOWN else plain[:MAX_SHOWN] + " …"
    return f"<pre>{_text(cut)}</pre>"


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _text(value: str) -> str:
    """Text as HTML text: markup, quotes and control characters lose their meaning."""
    return escape(
        "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in value), quote=True
    )
