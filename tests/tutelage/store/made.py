"""Rollouts, pairs and judgements as the store's tests use them."""

from typing import Any

from router.rollout import Rollout
from router.stages import Ladder
from router.types import Arm, Direction, Mode
from tutelage.contracts.decisions import Decision, Epoch
from tutelage.contracts.keys import Key
from tutelage.contracts.pairs import Judgement, Pair, Serving
from tutelage.contracts.records import Answer, Attempt, CapturePolicy
from tutelage.contracts.snapshot import PublishedConfig
from tutelage.store.base import Audit, Lease, RolloutChange

LADDER = Ladder(shares_bp=(0, 100, 1000, 9000))


def config(digest: str = "digest-1") -> PublishedConfig:
    return PublishedConfig(digest=digest, settings={"routes": {"triage": {}}}, published_at=1.0)


def rollout(route: str = "triage", revision: int = 1, **fields: Any) -> Rollout:
    plain: dict[str, Any] = {"student": "s@v7", "mode": Mode.GATED, "ladder": LADDER, "epoch": "e1", "salt": "salt"}
    return Rollout(route=route, revision=revision, **(plain | fields))


def epoch(identifier: str = "e1", route: str = "triage") -> Epoch:
    return Epoch(
        id=identifier,
        route=route,
        student="s@v7",
        teacher="t@1",
        rubric="triage@1",
        judge=None,
        judge_prompt_hash=None,
        system_prompt_version=None,
        delta=0.05,
        delta_r=0.05,
        alpha=0.005,
        sigma0=0.3,
        sigma0_source="default",
        stages_bp=LADDER.shares_bp,
        dwell_s=0.0,
        approval="none",
        trained_until=None,
        unit="request",
        opened_at=1.0,
    )


def decision(identifier: str, route: str = "triage", **fields: Any) -> Decision:
    plain: dict[str, Any] = {
        "at": 1.0,
        "student": "s@v7",
        "attempt": 1,
        "epoch": "e1",
        "revision_from": 0,
        "revision_to": 1,
        "phase_from": "SHADOW",
        "phase_to": "SHADOW",
        "from_bp": 0,
        "to_bp": 0,
        "event": "Test",
        "actor": "test",
        "reason": "because",
    }
    return Decision(id=identifier, route=route, **(plain | fields))


def audit(action: str = "Test") -> Audit:
    return Audit(at=1.0, actor="test", action=action, subject="route triage", reason="because")


def change(after: Rollout, expected_revision: int, lease: Lease | None = None, **fields: Any) -> RolloutChange:
    return RolloutChange(
        rollout=after,
        expected_revision=expected_revision,
        decision=decision(f"d-{after.route}-{after.revision}", after.route),
        audit=audit(),
        lease=lease,
        **fields,
    )


def key(identifier: str = "k1", **fields: Any) -> Key:
    plain: dict[str, Any] = {"digest": "00" * 32, "tenant": "default", "label": "", "created_at": 1.0}
    return Key(id=identifier, **(plain | fields))


def attempt(arm: Arm, text: str = "an answer") -> Attempt:
    answer = Answer(text=text, choices=({"role": "assistant", "content": text},), finish_reason="stop")
    return Attempt(arm=arm, upstream="u", version="v", purpose="serve", started=1.0, total_ms=2.0, answer=answer)


def pair(identifier: str, admitted_at: float, **fields: Any) -> Pair:
    plain: dict[str, Any] = {
        "route": "triage",
        "epoch": "e1",
        "attempt_number": 1,
        "revision": 1,
        "direction": Direction.FORWARD,
        "sticky_key": f"key of {identifier}",
        "unit_id": identifier,
        "endpoint": "chat.completions",
        "request": {"messages": [{"role": "user", "content": "hello"}]},
        "input_hash": "h",
        "teacher": attempt(Arm.TEACHER),
        "student": attempt(Arm.STUDENT),
        "policy": CapturePolicy(log="full", train=True, purpose="tests"),
        "shadow_bp": 10_000,
        "floor_bp": 10_000,
        "policy_version": 1,
    }
    return Pair(id=identifier, admitted_at=admitted_at, **(plain | fields))


def judgement(pair_id: str, d: float = 0.0, **fields: Any) -> Judgement:
    plain: dict[str, Any] = {"rubric": "triage@1", "method": "check", "scores": (), "scored_at": 5.0}
    return Judgement(pair_id=pair_id, d=d, **(plain | fields))


def serving(name: str, at: float, unit: str) -> Serving:
    return Serving(
        id=name,
        route="triage",
        epoch="e1",
        revision=1,
        direction=Direction.REVERSE,
        unit=unit,
        key=unit,
        at=at,
        value=1.0,
    )
