"""The words of routing: arms, capabilities, what a request needs, and the plan for it.

Owns the value types that `policy`, `breaker`, the rollout and the gateway share. Knows nothing of HTTP, JSON or storage.
Shares and propensities are integer basis points (bp): 10,000 bp = 100 %. What every request makes anew is a named tuple: as
immutable as a frozen dataclass, and made three times as fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

FULL_BP = 10_000
_NONE: Mapping[str, str] = MappingProxyType({})


class Arm(StrEnum):
    """A side of the comparison."""

    TEACHER = "teacher"
    STUDENT = "student"

    @property
    def other(self) -> "Arm":
        return Arm.STUDENT if self is Arm.TEACHER else Arm.TEACHER


class Direction(StrEnum):
    """FORWARD: the teacher served and the student was shadowed. REVERSE: the other way round."""

    FORWARD = "forward"
    REVERSE = "reverse"


class Outcome(StrEnum):
    """What one call says about its upstream. A client that hangs up says nothing: IGNORED."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


TEACHER, STUDENT = Arm.TEACHER, Arm.STUDENT
SUCCESS, FAILURE, IGNORED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.IGNORED
"""For what runs with every request: to look a member up on its class costs Python 3.11 a call."""


class FallbackRule(StrEnum):
    """Who may take over before the first byte: the teacher only, either arm, or nobody."""

    TEACHER_ONLY = "teacher_only"
    BOTH = "both"
    NONE = "none"


class UnitOf(StrEnum):
    """What counts as one observation of a route."""

    CONVERSATION = "conversation"
    REQUEST = "request"


class Mode(StrEnum):
    """GATED: evidence moves the share. FIXED: people do. OBSERVE: the share is 0, guaranteed."""

    GATED = "gated"
    FIXED = "fixed"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What the operator declares the student can do. The rest goes to the teacher, counted by reason.

    `context_tokens` is None when not declared: then nothing is screened by length.
    """

    context_tokens: int | None = None
    tools: bool = False
    structured: bool = False
    vision: bool = False
    audio: bool = False
    logprobs: bool = True
    endpoints: frozenset[str] = frozenset({"chat.completions"})


class Needs(NamedTuple):
    """What one request asks of its arm, read from the top level of its body.

    `prompt_tokens_at_least` is a lower estimate (bytes / 4 of the text), so that screening never rejects what fits.
    `hosted_tools` are tools that the provider itself runs (web search, code interpreter, …): no student has them.
    `stateful` names the field that refers to state held by one provider ("previous_response_id", "file_id", …), or is
    None.
    """

    endpoint: str = "chat.completions"
    prompt_tokens_at_least: int = 0
    output_tokens: int = 0
    tools: bool = False
    structured: bool = False
    vision: bool = False
    audio: bool = False
    logprobs: bool = False
    hosted_tools: bool = False
    stateful: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """At which rates shadows are drawn. Constant within one `version`: rates never change inside a policy version.

    Forward requests whose slice `slice` has one of the values `watched` are drawn at `watch_bp`, the others at
    `forward_bp`: what has passed is only watched. `watched` is sorted.
    """

    forward_bp: int = 0
    reverse_bp: int = 0
    holdout_bp: int = 0
    salt: str = ""
    version: int = 0
    slice: str = ""
    watched: tuple[str, ...] = ()
    watch_bp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """All that `plan_route` reads of a route: a view of the snapshot, built once per snapshot.

    `student` is None on a route without one (`default_upstream`, judge routes): the teacher serves everything.
    `share_bp` is the share in force: 0 while killed.
    """

    name: str
    teacher: str
    student: str | None = None
    share_bp: int = 0
    revision: int = 0
    salt: str = ""
    unit: UnitOf = UnitOf.CONVERSATION
    fallback: FallbackRule = FallbackRule.TEACHER_ONLY
    can: Capabilities = field(default_factory=Capabilities)
    sampling: Sampling = field(default_factory=Sampling)


class Ask(NamedTuple):
    """One request as the policy sees it.

    `sticky_key` is the value that names the user (see stickiness), `request_id` the gateway's own id,
    `utc_day` the ISO date, `pinned` an arm demanded by `x-tutelage-arm`, `may_shadow` False where a person or a key
    opted out of shadow calls.
    """

    request_id: str
    sticky_key: str
    utc_day: str
    needs: Needs
    pinned: Arm | None = None
    may_shadow: bool = True
    slices: Mapping[str, str] = _NONE


class RoutePlan(NamedTuple):
    """What happens to one request, decided before anything is known of the answer.

    `assigned` is what the split's hash said; `serve` differs from it only where `reasons` says why (screened, open
    breaker, pinned). `shadow` is the arm to ask beside it, or None. Propensities are those of the *decision*:
    `arm_bp` of being assigned `assigned`, `shadow_bp` of being sampled, `floor_bp` the lowest such rate of its policy.
    `in_population` is False for what gates must not read: pinned, screened, stateful.
    """

    serve: Arm
    assigned: Arm
    fallback: Arm | None
    shadow: Arm | None
    holdout: bool
    in_population: bool
    reasons: tuple[str, ...]
    bucket: int
    share_bp: int
    arm_bp: int
    shadow_bp: int
    floor_bp: int
    policy_version: int
