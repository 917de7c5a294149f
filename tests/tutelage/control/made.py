"""Values for tests of the control role: settings, exchanges, shadow attempts."""

from typing import Any

from router.rollout import Phase, Rollout, Since
from router.stages import Ladder
from router.types import Arm, Mode
from tutelage.contracts.decisions import Epoch
from tutelage.contracts.load import validated
from tutelage.contracts.records import Answer, Attempt, CapturePolicy, Exchange, Plan, ShadowAttempt
from tutelage.contracts.settings import Settings

NOW = 1_790_000_000.0
ROUTE = "triage"


def settings(
    *,
    unit: str = "request",
    data_dir: str = "./data",
    rubrics: str = "./rubrics",
    student_version: str = "v1",
    **route: Any,
) -> Settings:
    document: dict[str, Any] = {
        "data_dir": data_dir,
        "rubrics": rubrics,
        "upstreams": {
            "gpt": {
                "kind": "openai",
                "base_url": "http://127.0.0.1:1/v1",
                "model": "gpt",
                "version": "t1",
                "training_use": "denied",
            },
            "small": {
                "kind": "vllm",
                "base_url": "http://127.0.0.1:2/v1",
                "model": "small",
                "version": student_version,
                "trained_until": "2026-01-01",
            },
        },
        "default_upstream": "gpt",
        "routes": {
            ROUTE: {
                "teacher": "gpt",
                "student": "small",
                "capture": {"content": "full", "purpose": "tests"},
                "unit": unit,
                "rubric": "exact@1",
                "rollout": {"mode": "gated", "stages": ["0%", "10%", "90%"], "dwell": 0},
                **route,
            }
        },
    }
    if "share" in route:
        del document["routes"][ROUTE]["rollout"]
    return validated(document, "test")


def rollout(**changes: Any) -> Rollout:
    values: dict[str, Any] = {
        "route": ROUTE,
        "student": "small@v1",
        "mode": Mode.GATED,
        "ladder": Ladder(shares_bp=(0, 1000, 9000)),
        "epoch": "e1",
        "salt": "s1",
        "phase": Phase.SHADOW,
        "revision": 2,
        "since": Since(evidence=2, fresh=2, hold=2, down=2, back=2),
    }
    return Rollout(**(values | changes))


def epoch(**changes: Any) -> Epoch:
    values: dict[str, Any] = {
        "id": "e1",
        "route": ROUTE,
        "student": "small@v1",
        "teacher": "gpt@t1",
        "rubric": "exact@1",
        "judge": None,
        "judge_prompt_hash": None,
        "system_prompt_version": None,
        "delta": 0.05,
        "delta_r": 0.05,
        "alpha": 0.005,
        "sigma0": 0.3,
        "sigma0_source": "default",
        "stages_bp": (0, 1000, 9000),
        "dwell_s": 0.0,
        "approval": "none",
        "trained_until": NOW - 1000,
        "unit": "request",
        "opened_at": NOW - 500,
    }
    return Epoch(**(values | changes))


def attempt(arm: Arm, purpose: str = "serve", **changes: Any) -> Attempt:
    teacher = arm is Arm.TEACHER
    values: dict[str, Any] = {
        "arm": arm,
        "upstream": "gpt" if teacher else "small",
        "version": "t1" if teacher else "v1",
        "purpose": purpose,
        "started": NOW,
        "total_ms": 10.0,
        "status": 200,
        "answer": Answer(text="yes", choices=({"role": "assistant", "content": "yes"},), finish_reason="stop"),
    }
    return Attempt(**(values | changes))


def plan(assigned: Arm = Arm.TEACHER, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "serve": assigned,
        "assigned": assigned,
        "fallback": None,
        "shadow": assigned.other,
        "holdout": False,
        "in_population": True,
        "reasons": (),
        "bucket": 1,
        "share_bp": 0,
        "arm_bp": 10_000,
        "shadow_bp": 10_000,
        "floor_bp": 10_000,
        "policy_version": 1,
    }
    return Plan(**(values | changes))


def exchange(name: str = "x1", assigned: Arm = Arm.TEACHER, **changes: Any) -> Exchange:
    values: dict[str, Any] = {
        "id": name,
        "gateway": "g1",
        "sequence": 1,
        "generation": 1,
        "snapshot": 1,
        "digest": "d",
        "route": ROUTE,
        "tenant": "t",
        "key_id": "k",
        "subject": None,
        "conversation": f"c-{name}",
        "turn": 1,
        "admitted_at": NOW,
        "endpoint": "chat.completions",
        "stream": False,
        "request": {"messages": [{"role": "user", "content": "?"}]},
        "params_hash": "p",
        "input_hash": "i",
        "sticky_source": "user",
        "salt": "s1",
        "revision": 2,
        "epoch": "e1",
        "plan": plan(assigned),
        "attempts": (attempt(assigned),),
        "served_arm": assigned,
        "outcome": "ok",
        "policy": CapturePolicy(log="full", train=True),
    }
    return Exchange(**(values | changes))


def shadow(of: str = "x1", arm: Arm = Arm.STUDENT, **changes: Any) -> ShadowAttempt:
    values: dict[str, Any] = {
        "id": f"s-{of}",
        "exchange_id": of,
        "gateway": "g1",
        "route": ROUTE,
        "ended_at": NOW + 1,
        "attempt": attempt(arm, "shadow"),
        "params_hash": "p",
    }
    return ShadowAttempt(**(values | changes))
