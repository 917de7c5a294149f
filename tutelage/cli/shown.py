"""How rollouts, queues, decisions and gates are shown to people; `tutelage.control.shown` has the rollout's document.

Owns the wording only. The names in the documents are those of the admin plane. Must not read stores or clocks.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from router.rollout import Rollout
from tutelage.contracts.decisions import CellNumbers, Decision
from tutelage.contracts.records import Json
from tutelage.store.apply import in_words
from tutelage.store.base import QueueDepth

CENT_USD = 0.01


def percent(share_bp: int) -> str:
    """A share in percent, without needless zeros: `2.5 %`."""
    return f"{share_bp / 100:g} %"


def dollars(usd: float | None) -> str:
    """An amount, below a cent to two digits; what is not known is said to be unknown, never 0."""
    if usd is None:
        return "unknown"
    amount = f"{abs(usd):.2g}" if 0.000_1 <= abs(usd) < CENT_USD else f"{abs(usd):,.2f}"
    return f"{'-' if usd < 0 and float(amount.replace(',', '')) else ''}${amount}"


def utc(at: float) -> str:
    """A time to the second: `2026-11-24 04:10:51Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def queue_document(depth: QueueDepth) -> dict[str, Json]:
    """What waits, what is scored, what no gate reads."""
    return {
        "waiting": depth.waiting,
        "scored": depth.scored,
        "oldest_admitted_at": depth.oldest_admitted_at,
        "exclusions": dict(depth.by_exclusion),
    }


def rollout_words(rollout: Rollout) -> str:
    """One line: the route, its student and where the rollout stands."""
    waived = f", guarantee waived by {rollout.waived_by}" if rollout.waived_by else ""
    return f"{rollout.route}: {rollout.student} {in_words(rollout)}{waived}"


def decision_words(decision: Decision) -> str:
    """One line: when, what, by whom and why."""
    moved = percent(decision.to_bp)
    if decision.from_bp != decision.to_bp:
        moved = f"{percent(decision.from_bp)} → {moved}"
    phase = f"{decision.phase_from} → {decision.phase_to}" if decision.phase_from != decision.phase_to else ""
    what = "  ".join(part for part in (decision.event, moved, phase) if part)
    return f"{utc(decision.at)}  r{decision.revision_to}  {what}  by {decision.actor}: {decision.reason}"


def evidence_words(decision: Decision) -> tuple[str, ...]:
    """What a decision was made on: a line per cell and one for the detectors."""
    return (*(_cell_words(cell) for cell in decision.cells), *_detector_words(decision.detectors))


def gate_words(gate: Mapping[str, Json]) -> Sequence[str]:
    """The gate's document (`tutelage.control.gates`) in lines."""
    fresh = gate["fresh"]
    lines = [f"now: {gate['reason']}"] if gate["reason"] else []
    lines += [
        f"  {cell['cell']}: n {cell['n']}, mean d {_number(cell['mean_d'])}, "
        f"log E {_number(cell['log_e'])} against {_number(cell['threshold'])}{_bound(cell)}"
        for cell in gate["cells"]
    ]
    lines += [
        f"  fresh key: {fresh['distinct_keys']} different users in this block, {fresh['distinct_keys_needed']} needed",
        f"  missing: {gate['missing']['words']}",
    ]
    lines += [
        f"  detector {name}: {_number(value)} against {_number(gate['detector_thresholds'].get(name))}"
        for name, value in gate["detectors"].items()
    ]
    lines += [
        f"  held ({row['hold']}) since {utc(row['at'])} by {row['actor']}: {row['reason']}" for row in gate["holds"]
    ]
    lines += _signal_words(gate["signals"])
    if gate["labels"] is not None:
        lines.append(f"  {_labels(gate['labels'])}")
    if gate["successor"] is not None:
        lines.append(f"  successor {gate['successor']['student']}: {gate['successor']['reason']}")
        if gate["successor"]["labels"] is not None:
            lines.append(f"    {_labels(gate['successor']['labels'])}")
    lines.append(f"  to the next rung: {_left(gate)}")
    lines.append(f"  every required cell has passed: {'yes' if gate['proven'] else 'no'}")
    return lines


def _labels(labels: Mapping[str, Json]) -> str:
    said = f"labels: {labels['n']} drawn pairs counted, {labels['not_in_time']} of them not labelled in time"
    awaited = labels["awaited"]
    return (
        said if awaited is None else f"{said}; pair {awaited['pair']} waits for its label until {utc(awaited['until'])}"
    )


def whole_words(name: str, whole: Mapping[str, Json]) -> str:
    """What a route and its parts come to together (`tutelage.control.whole`)."""
    share_bp = whole["share_in_force_bp"]
    share = "an unknown share, as nobody has asked yet" if share_bp is None else f"{percent(share_bp)} of its traffic"
    queue = f"{whole['waiting']} pairs wait, {whole['scored']} scored"
    said = f"{name} as a whole: the student has {share}; {queue}"
    return f"{said}; {saving_words(whole)}" if whole["days"] else said


def saving_words(money: Mapping[str, Json]) -> str:
    """The net saving in a few words, with the alarm where prices are missing."""
    if money["unknown"]:
        return f"net saving unknown: no price for {', '.join(money['unknown'])}"
    return f"net saving {dollars(money['net_usd'])}"


def economics_words(money: Mapping[str, Json]) -> tuple[str, ...]:
    """What was spent, saved and has to be earned back (`tutelage.control.shown.economics_document`)."""
    if not money["days"]:
        return ("nothing spent yet",)
    spent = ", ".join(f"{name} {dollars(line['usd'])}" for name, line in money["accounts"].items() if line["calls"])
    span = "1 day" if money["days"] == 1 else f"{money['days']} days"
    lines = [f"{saving_words(money)} in {span}; avoided {dollars(money['avoided_usd'])}; spent: {spent}"]
    if (even := money["break_even"]) is not None and (money["fixed_usd"] or even["daily_usd"] < 0):
        when = "never at this rate" if even["days"] is None else f"after {even['days']:,.1f} days"
        earned = f"fixed costs of {dollars(money['fixed_usd'])} are earned {when}"
        what = earned if money["fixed_usd"] else "it costs more than it saves at this rate"
        lines.append(f"{what} ({dollars(even['daily_usd'])} a day)")
    return tuple(lines)


def _cell_words(cell: CellNumbers) -> str:
    reached = "reached" if cell.log_e >= cell.threshold else "not reached"
    numbers = f"log E {_number(cell.log_e)} against {_number(cell.threshold)} ({reached})"
    return f"  {cell.cell}: n {cell.n}, mean d {_number(cell.mean_d)}, {numbers}"


def _detector_words(detectors: Mapping[str, float]) -> tuple[str, ...]:
    values = ", ".join(f"{name} {_number(value)}" for name, value in sorted(detectors.items()))
    return (f"  detectors: {values}",) if values else ()


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _bound(cell: Mapping[str, Json]) -> str:
    """What the mean is not below, now and at every other time."""
    return f", mean at least {cell['lower_bound']:+.3f}" if cell["lower_bound"] is not None else ""


def _signal_words(signals: Mapping[str, Json]) -> list[str]:
    """What control saw of the machinery."""
    watches, overdue = signals["watches"].items(), sum(signals["overdue"].values())
    lines = [f"    {'ALARM, ' if watch['alarm'] else ''}{name}: {watch['words']}" for name, watch in watches]
    lines += [f"    overdue: {overdue} exchanges wait for their other half"] if overdue else []
    return [f"  as control saw it at {utc(signals['at'])}:", *lines] if lines else []


def _left(gate: Mapping[str, Json]) -> str:
    """Pairs, hours and dollars, each as a band."""
    if gate["next_rung"] == gate["rung"]:
        return "there is none, it stands on the last one"
    pairs, lately, hours, usd = gate["pairs_left"], gate["fresh_left"], gate["hours_left"], gate["usd_left"]
    both = ", the same pairs for both" if lately["direction"] == "forward" else ""
    parts = [
        f"{_band(pairs, ',.0f')} forward pairs for the evidence",
        f"{_band(lately, ',.0f')} {lately['direction']} pairs for the fresh key{both}",
        f"{_band(hours, ',.1f')} hours at the pace so far",
        f"dollars {_band(usd, ',.2f')} for shadow and judge",
    ]
    return ", ".join(parts)


def _band(band: Mapping[str, float | None], form: str) -> str:
    low, high = band["low"], band["high"]
    if low is None:
        return "unknown"
    return f"{low:{form}} to {'unknown' if high is None else format(high, form)}"
