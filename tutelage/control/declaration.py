"""What the operator declared of a route, beside what stands: epochs, and the events that bring a rollout to its declaration.

Pure: one event at a time, so that a crash between two of them is repaired by asking again. Must not know stores, gates,
spools or HTTP; `tutelage.control.snapshot` commits.

What a route declares beyond these events: a field of `Declared`; what begins a new epoch: a word in `_epoch`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from router.events import Begin, ChangeMode, Dismiss, Event, NewEpoch, NewStudent, NewSuccessor
from router.rollout import MEASURABLE, Phase, Rollout
from router.stages import Ladder
from router.types import Mode
from tutelage.contracts.decisions import Epoch, GateRules
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.parts import carve_outs_of, weight_of
from tutelage.contracts.records import Json
from tutelage.contracts.routes import RolloutSettings, RouteSettings, ShadowSettings
from tutelage.contracts.settings import Settings
from tutelage.contracts.upstreams import UpstreamSettings

ACTOR = "configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the configuration says of one route with a student. `heir` is the epoch of a declared student that is to be
    measured beside the one that serves; `epoch` is then that one's."""

    mode: Mode
    share_bp: int
    ladder: Ladder
    epoch: Epoch
    shadow: ShadowSettings
    heir: Epoch | None = None


def digest(document: Json) -> str:
    """SHA-256, hexadecimal, of a JSON document in canonical form: keys sorted, no spaces."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def declared(
    settings: Settings, name: str, rubrics: Mapping[str, str], at: float, standing: Rollout | None = None
) -> Declared | None:
    """What `settings` declare of route `name`, whose rollout is `standing`; None where it has no student. `rubrics` are
    digests of the rubrics' content.

    Raises ConfigurationError for stages that are no ladder.
    """
    route = settings.routes[name]
    if route.student is None:
        return None
    rollout = route.rollout or RolloutSettings()
    try:
        ladder = Ladder(shares_bp=tuple(rollout.stages))
    except ValueError as fault:
        raise ConfigurationError(f"routes.{name}.rollout.stages: {fault}") from None
    serving = _serving(settings, route, standing)
    epoch = _epoch(settings, name, rollout, rubrics, at, student_name=serving or route.student)
    return Declared(
        mode=Mode.FIXED if route.rollout is None else Mode(rollout.mode),
        share_bp=route.share or 0,
        ladder=ladder,
        epoch=epoch,
        shadow=route.shadow,
        heir=None if serving is None else _epoch(settings, name, rollout, rubrics, at, student_name=route.student),
    )


def _serving(settings: Settings, route: RouteSettings, standing: Rollout | None) -> str | None:
    """The upstream of the student that goes on serving while the declared one is measured; None where there is none."""
    if route.student is None or not settings.upstreams[route.student].successor:
        return None
    if standing is None or standing.rung == 0 or standing.mode is not Mode.GATED:
        return None
    if standing.student == version_of(route.student, settings.upstreams[route.student]):
        return None
    name = standing.student.partition("@")[0]
    found = settings.upstreams.get(name)
    return name if found is not None and version_of(name, found) == standing.student else None


def version_of(name: str, upstream: UpstreamSettings) -> str:
    """How an arm is named in epochs and rollouts: upstream and declared version."""
    return f"{name}@{upstream.version}"


def _epoch(
    settings: Settings,
    name: str,
    rollout: RolloutSettings,
    rubrics: Mapping[str, str],
    at: float,
    *,
    student_name: str,
) -> Epoch:
    """The epoch of one student of the route. Its id is a digest of the declaration alone: the same words, the same
    epoch.
    """
    route = settings.routes[name]
    student, teacher = settings.upstreams[student_name], settings.upstreams[route.teacher]
    judge = None if route.judge is None else route.judge.upstream
    fallback = None if route.judge is None else route.judge.fallback
    words: dict[str, Json] = {
        "route": name,
        "student": version_of(student_name, student),
        "teacher": version_of(route.teacher, teacher),
        "rubric": route.rubric,
        "judge": None if judge is None else version_of(judge, settings.upstreams[judge]),
        "judge_fallback": None if fallback is None else version_of(fallback, settings.upstreams[fallback]),
        "judge_prompt_hash": rubrics.get(route.rubric or ""),
        "system_prompt_version": route.system_prompt_version,
        "delta": rollout.margin,
        "delta_r": rollout.margin if rollout.delta_r is None else rollout.delta_r,
        "alpha": rollout.alpha,
        "sigma0": rollout.sigma0,
        "sigma0_source": rollout.sigma0_source,
        "stages_bp": tuple(rollout.stages),
        "dwell_s": rollout.dwell,
        "approval": rollout.approval,
        "trained_until": student.trained_until,
        "unit": route.unit,
        "idle_s": route.conversation_idle,
        "gates": gate_rules(route, rollout),
        "weight": weight_of(name, route),
    }
    judges = [settings.upstreams[name].model for name in (judge, fallback) if name is not None]
    models = [student.model, teacher.model, *judges]
    return Epoch(id=digest([msgspec.to_builtins(words), models])[:16], opened_at=at, **words)


def gate_rules(route: RouteSettings, rollout: RolloutSettings) -> GateRules:
    """What must pass beside overall quality, every default put in. A slice whose values climb apart makes no cells."""
    asked = rollout.gates
    severe = {"margin": rollout.margin, "off": None}[asked.severe] if isinstance(asked.severe, str) else asked.severe
    carved = carve_outs_of(route)
    routing = tuple(name for name in route.slices.headers if carved is None or name != carved.slice)
    return GateRules(
        severe=severe,
        slices=(*routing, *asked.required),
        slice_margin=min(2.0 * rollout.margin, (1.0 + rollout.margin) / 2)
        if asked.slice_margin is None
        else asked.slice_margin,
        slice_share_bp=asked.slice_share,
        floor=asked.floor,
        disagreement=asked.disagreement,
        guardrails={name: harm for name, harm in asked.guardrails if harm is not None},
        max_units_per_key=asked.max_units_per_key,
        label_bp=asked.labels,
        label_within_s=asked.labels_within,
        outcome_bp=asked.outcomes,
        adaptive=routing[0] if len(routing) == 1 and asked.adaptive == "auto" else None,
    )


# --- events -----------------------------------------------------------------------------------------------------------


def first(wanted: Declared, salt: str, at: float) -> Rollout:
    """The rollout of a route that has none yet: PENDING until `Begin`."""
    return Rollout(
        route=wanted.epoch.route,
        student=wanted.epoch.student,
        mode=wanted.mode,
        ladder=wanted.ladder,
        epoch=wanted.epoch.id,
        salt=salt,
        initial_bp=wanted.share_bp,
        entered_at=at,
    )


def next_event(rollout: Rollout, wanted: Declared, new_salt: Callable[[], str], at: float) -> Event | None:
    """The next event that brings `rollout` to what is declared; None where nothing is to do now."""
    epoch = wanted.epoch
    if rollout.student != epoch.student:
        reason = f"the student is {epoch.student}, it was {rollout.student}"
        return NewStudent(
            at=at,
            actor=ACTOR,
            reason=reason,
            student=epoch.student,
            epoch=epoch.id,
            salt=new_salt(),
            ladder=wanted.ladder,
        )
    if rollout.epoch != epoch.id:
        reason = "teacher, judge, rubric, margin or ladder changed"
        return NewEpoch(at=at, actor=ACTOR, reason=reason, epoch=epoch.id, ladder=wanted.ladder)
    if (rollout.mode, rollout.initial_bp) != (wanted.mode, wanted.share_bp):
        reason = f"the configuration says {wanted.mode} at {wanted.share_bp} bp"
        return ChangeMode(at=at, actor=ACTOR, reason=reason, mode=wanted.mode, share_bp=wanted.share_bp)
    if rollout.phase is Phase.PENDING and at >= (epoch.trained_until or 0.0):
        return Begin(at=at, actor=ACTOR, reason="the student's training time is over")
    return _succession(rollout, wanted.heir, at)


def _succession(rollout: Rollout, heir: Epoch | None, at: float) -> Event | None:
    """A successor comes with its declaration and goes with it; one that was dismissed does not come again."""
    beside = None if rollout.successor is None else rollout.successor.student
    if beside is not None and (heir is None or beside != heir.student):
        return Dismiss(at=at, actor=ACTOR, reason="it is declared no longer")
    if heir is None or beside is not None or heir.student == rollout.dismissed or rollout.phase not in MEASURABLE:
        return None
    reason = f"the student is {heir.student}: measured beside {rollout.student}"
    return NewSuccessor(at=at, actor=ACTOR, reason=reason, student=heir.student, epoch=heir.id)


def entered(event: Event, wanted: Declared) -> Epoch | None:
    """The epoch that an event enters."""
    if isinstance(event, NewSuccessor):
        return wanted.heir
    return wanted.epoch if isinstance(event, NewStudent | NewEpoch) else None
