"""Gate: every required cell has shown, at the next rung's level, that the student is within the cell's margin.

Intersection-union: a wrong promotion past any cell needs that cell's own E ≥ 1/α, so all of them together are wrong with
probability at most α, without a correction and whatever their dependence (Berger 1982). Evidence alone is read here:
which cells there are is `scoring.gates.metrics` and `scoring.gates.slices`.
"""

from __future__ import annotations

from scoring.evidence import POOLED, QUALITY
from scoring.gates.accounts import Account
from scoring.gates.metrics import pooled_metrics, promotion_prior
from scoring.gates.slices import NAMING_UNITS, Place, required_labels
from scoring.gates.state import OVERALL, State
from scoring.gates.verdict import Finding, Verdict
from scoring.gates.view import View
from tutelage.contracts.decisions import Epoch


def required_cells(state: State, epoch: Epoch) -> dict[Place, Account]:
    """The cells that must pass, overall quality first, then the other metrics, then slices.

    Where scores are pass or fail, severe regressions are quality itself: a cell with the same counts says nothing more.
    """
    places = [(POOLED, metric) for metric in pooled_metrics(epoch)]
    places = [place for place in places if place == OVERALL or not _same(state.cells[place], state.overall)]
    if state.named:
        places += [(where, QUALITY) for where in required_labels(state.traffic, epoch.gates)]
    return {place: state.cells[place] for place in places}


def required(view: View) -> tuple[Finding, ...]:
    """One finding per required cell: PASS when log E ≥ log(1/α_{k+1})."""
    findings = tuple(
        _finding(view, place, account) for place, account in required_cells(view.state, view.epoch).items()
    )
    unnamed = view.epoch.gates.slices and not view.state.named
    return (*findings, _unnamed(view)) if unnamed else findings


def earns_its_rung(view: View) -> bool:
    """Whether the evidence reaches the rung on which the rollout already stands: what lifts the `epoch` hold."""
    need = view.needs[view.rollout.rung]
    cells = required_cells(view.state, view.epoch)
    return all(account.reaches(need, promotion_prior(view.epoch, place)) for place, account in cells.items())


def _same(account: Account, overall: Account) -> bool:
    cell, pooled = account.evidence, overall.evidence
    return account.null_mean == overall.null_mean and (cell.counts, cell.missing) == (pooled.counts, pooled.missing)


def _finding(view: View, place: Place, account: Account) -> Finding:
    prior = promotion_prior(view.epoch, place)
    passed = account.reaches(view.next_need, prior)
    return Finding(
        gate="evidence" if place == OVERALL else "/".join(place),
        verdict=Verdict.PASS if passed else Verdict.INCONCLUSIVE,
        value=account.log_e(prior),
        need=view.next_need,
        n=account.evidence.units,
        template="{gate}: log E {value:.2f} of {need:.2f} over {n} forward pairs",
    )


def _unnamed(view: View) -> Finding:
    units = view.state.overall.evidence.units
    return Finding(
        gate="slices",
        verdict=Verdict.INCONCLUSIVE,
        value=float(units),
        need=float(NAMING_UNITS),
        n=units,
        template="{gate}: named once {need:.0f} forward pairs are there, now {n}",
    )
