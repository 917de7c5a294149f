"""The rollout's table, walked cell by cell, and what holds after any sequence of events."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.events import (
    Advance,
    Begin,
    ChangeMode,
    Clear,
    Dismiss,
    Event,
    Hold,
    Kill,
    NewEpoch,
    NewStudent,
    NewSuccessor,
    Pause,
    Promote,
    Release,
    Resume,
    RollBack,
    Rollback,
    SetShare,
    StepDown,
    Succeed,
)
from router.rollout import (
    EPOCH,
    FUTILITY,
    OPERATOR,
    TEACHER,
    TRANSITIONS,
    Effect,
    IllegalTransition,
    Phase,
    Rollout,
    Since,
    Successor,
    candidate,
    step,
)
from router.stages import Ladder
from router.types import Mode

LADDER = Ladder(shares_bp=(0, 100, 1000, 5000))
TOLD: dict[str, Any] = {"at": 2000.0, "actor": "ann", "reason": "because"}
ALL = "evidence fresh hold down back"


def rollout(**fields: Any) -> Rollout:
    usual: dict[str, Any] = {
        "route": "triage",
        "student": "v1",
        "mode": Mode.GATED,
        "ladder": LADDER,
        "epoch": "e1",
        "salt": "s1",
        "revision": 7,
        "entered_at": 1000.0,
    }
    return Rollout(**usual | fields)


def ramping(**fields: Any) -> Rollout:
    return rollout(**{"phase": Phase.RAMPING, "rung": 1, "share_bp": 100} | fields)


COLUMNS: dict[str, Rollout] = {
    "PENDING": rollout(),
    "SHADOW": rollout(phase=Phase.SHADOW),
    "RAMPING": ramping(),
    "paused": ramping(phase=Phase.HELD, holds=frozenset({OPERATOR})),
    "held": ramping(phase=Phase.HELD, holds=frozenset({"judge"})),
    "COMPLETE": rollout(phase=Phase.COMPLETE, rung=3, share_bp=5000),
    "ROLLED_BACK": rollout(phase=Phase.ROLLED_BACK),
    "MANUAL": ramping(phase=Phase.MANUAL, share_bp=300),
}
EVENTS: dict[str, Event] = {
    "Begin": Begin(**TOLD),
    "Advance": Advance(**TOLD),
    "StepDown": StepDown(**TOLD),
    "RollBack": RollBack(**TOLD),
    "Hold": Hold(**TOLD, hold="missing"),
    "Release": Release(**TOLD, hold="judge"),
    "Pause": Pause(**TOLD),
    "Resume": Resume(**TOLD, salt="s2"),
    "Promote": Promote(**TOLD, waived=False),
    "Rollback": Rollback(**TOLD),
    "SetShare": SetShare(**TOLD, share_bp=250),
    "Kill": Kill(**TOLD),
    "Clear": Clear(**TOLD),
    "NewStudent": NewStudent(**TOLD, student="v2", epoch="e2", salt="s2", ladder=LADDER),
    "NewSuccessor": NewSuccessor(**TOLD, student="v2", epoch="e2"),
    "Succeed": Succeed(**TOLD),
    "Dismiss": Dismiss(**TOLD),
    "NewEpoch": NewEpoch(**TOLD, epoch="e2", ladder=LADDER),
    "ChangeMode": ChangeMode(**TOLD, mode=Mode.FIXED, share_bp=700),
}

# Phase after and share in force, in basis points; `-` is IllegalTransition. `paused` and `held` are HELD by an operator and by
# the controller. Clear is tried on what was killed, Succeed and Dismiss where there is a successor.
TABLE = """
            PENDING    SHADOW         RAMPING        paused         held           COMPLETE       ROLLED_BACK    MANUAL
Begin       SHADOW/0   -              -              -              -              -              -              -
Advance     -          RAMPING/100    RAMPING/1000   -              -              -              -              -
StepDown    -          -              SHADOW/0       HELD/0         HELD/0         RAMPING/1000   -              -
RollBack    -          ROLLED_BACK/0  ROLLED_BACK/0  ROLLED_BACK/0  ROLLED_BACK/0  ROLLED_BACK/0  -              -
Hold        -          HELD/0         HELD/100       HELD/100       HELD/100       HELD/5000      -              -
Release     -          -              -              -              RAMPING/100    -              -              -
Pause       -          HELD/0         HELD/100       -              HELD/100       HELD/5000      -              -
Resume      -          -              -              RAMPING/100    -              -              SHADOW/0       RAMPING/100
Promote     -          RAMPING/100    RAMPING/1000   HELD/1000      HELD/1000      -              -              -
Rollback    -          ROLLED_BACK/0  ROLLED_BACK/0  ROLLED_BACK/0  ROLLED_BACK/0  ROLLED_BACK/0  -              ROLLED_BACK/0
SetShare    -          MANUAL/250     MANUAL/250     MANUAL/250     MANUAL/250     MANUAL/250     -              MANUAL/250
Kill        PENDING/0  SHADOW/0       RAMPING/0      HELD/0         HELD/0         COMPLETE/0     ROLLED_BACK/0  MANUAL/0
Clear       PENDING/0  SHADOW/0       RAMPING/100    HELD/100       HELD/100       COMPLETE/5000  ROLLED_BACK/0  MANUAL/300
NewStudent  SHADOW/0   SHADOW/0       SHADOW/0       HELD/0         SHADOW/0       SHADOW/0       SHADOW/0       SHADOW/0
NewSuccessor -         -              RAMPING/100    HELD/100       HELD/100       COMPLETE/5000  -              -
Succeed     -          -              RAMPING/100    HELD/100       RAMPING/100    COMPLETE/5000  -              -
Dismiss     PENDING/0  SHADOW/0       RAMPING/100    HELD/100       HELD/100       COMPLETE/5000  ROLLED_BACK/0  MANUAL/300
NewEpoch    PENDING/0  SHADOW/0       HELD/100       HELD/100       HELD/100       HELD/5000      ROLLED_BACK/0  MANUAL/300
ChangeMode  PENDING/0  MANUAL/700     MANUAL/700     MANUAL/700     MANUAL/700     MANUAL/700     ROLLED_BACK/0  MANUAL/700
"""
HEADING, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [(row[0], column, cell) for row in ROWS for column, cell in zip(HEADING, row[1:], strict=True)]

RESTARTS = {
    "Begin": ALL,
    "Advance": "fresh",
    "StepDown": "fresh down",
    "Resume": "fresh",
    "Promote": "fresh",
    "NewStudent": ALL,
    "NewEpoch": ALL,
    "ChangeMode": "fresh",
}
"""Which statistics begin anew; with the exceptions below, in every phase where the event applies."""

OTHER_RESTARTS = {("Resume", "ROLLED_BACK"): ALL, ("ChangeMode", "PENDING"): "", ("ChangeMode", "ROLLED_BACK"): ""}


def before(event: str, column: str) -> Rollout:
    heir = Successor(student="v2", epoch="e2", since=5) if event in ("Succeed", "Dismiss") else None
    return replace(COLUMNS[column], killed=event == "Clear", successor=heir)


def after(start: Rollout, *events: Event) -> Rollout:
    for event in events:
        start, _ = step(start, event)
    return start


def test_the_table_has_a_cell_for_every_event_in_every_phase():
    assert list(COLUMNS) == HEADING
    assert {start.phase for start in COLUMNS.values()} == set(Phase)
    assert [row[0] for row in ROWS] == list(EVENTS)
    assert {type(event).__name__ for event in EVENTS.values()} == {kind.__name__ for kind in Event.__subclasses__()}


def test_the_table_allows_exactly_what_the_code_has_rules_for():
    allowed = {(COLUMNS[column].phase, type(EVENTS[event])) for event, column, cell in CELLS if cell != "-"}
    assert allowed == set(TRANSITIONS)


@pytest.mark.parametrize(("event", "column", "cell"), CELLS)
def test_a_cell_of_the_table(event: str, column: str, cell: str):
    start = before(event, column)
    if cell == "-":
        with pytest.raises(IllegalTransition) as refused:
            step(start, EVENTS[event])
        assert (refused.value.phase, refused.value.event) == (start.phase, EVENTS[event])
        assert start.route in str(refused.value)
        return
    moved, _ = step(start, EVENTS[event])
    assert f"{moved.phase}/{moved.share_in_force_bp}" == cell
    assert moved.revision == start.revision + 1


@pytest.mark.parametrize(("event", "column"), [(event, column) for event, column, cell in CELLS if cell != "-"])
def test_which_statistics_begin_anew(event: str, column: str):
    moved, _ = step(before(event, column), EVENTS[event])
    if event == "Succeed":
        assert moved.since == Since(evidence=5, hold=5, down=5, back=5, fresh=moved.revision)
        return
    restarted = OTHER_RESTARTS.get((event, column), RESTARTS.get(event, ""))
    assert moved.since == replace(Since(), **dict.fromkeys(restarted.split(), moved.revision))


@pytest.mark.parametrize(("event", "column"), [(event, column) for event, column, cell in CELLS if cell != "-"])
def test_who_is_called(event: str, column: str):
    _, effects = step(before(event, column), EVENTS[event])
    assert effects == ((Effect.PAGE,) if event in ("StepDown", "RollBack") else ())


def test_a_hold_because_the_teacher_fails_calls_a_person():
    assert step(ramping(), Hold(**TOLD, hold=TEACHER))[1] == (Effect.PAGE,)


def test_dwell_begins_with_each_change_of_share_rung_or_attempt_and_with_nothing_else():
    moving = {
        "Begin",
        "Advance",
        "StepDown",
        "RollBack",
        "Promote",
        "Rollback",
        "SetShare",
        "Kill",
        "NewStudent",
        "ChangeMode",
        "Succeed",
    }
    for event, told in EVENTS.items():
        if event in ("Begin", "Release", "Resume", "Clear"):
            continue  # they do not apply here
        moved, _ = step(replace(before(event, "RAMPING"), killed=False), told)
        assert (moved.entered_at == told.at) == (event in moving), event
    assert step(rollout(), EVENTS["Begin"])[0].entered_at == TOLD["at"]
    assert step(COLUMNS["paused"], EVENTS["Resume"])[0].entered_at == 1000.0
    assert step(COLUMNS["ROLLED_BACK"], EVENTS["Resume"])[0].entered_at == TOLD["at"]
    assert step(ramping(killed=True), EVENTS["Clear"])[0].entered_at == TOLD["at"]


# --- a successor ------------------------------------------------------------------------------------------------------


def test_a_successor_takes_over_the_rung_its_users_and_its_evidence():
    begun = after(ramping(alpha_index=2, rung=2, share_bp=1000), EVENTS["NewSuccessor"])
    assert begun.successor == Successor(student="v2", epoch="e2", since=8)
    heir = candidate(begun)
    assert heir is not None
    assert (heir.phase, heir.rung, heir.share_bp, heir.ladder.shares_bp) == (Phase.SHADOW, 0, 0, (0, 1000, 5000))
    assert (heir.student, heir.epoch, heir.attempt, heir.alpha_index) == ("v2", "e2", 2, 3)
    following = after(begun, EVENTS["Hold"], EVENTS["Succeed"])
    assert (following.student, following.epoch, following.rung, following.share_bp) == ("v2", "e2", 2, 1000)
    assert (following.salt, following.attempt, following.alpha_index) == (begun.salt, 2, 3)
    assert (following.successor, following.holds, following.phase) == (None, frozenset(), Phase.RAMPING)
    assert following.since.evidence == heir.since.evidence == 8


def test_a_successor_s_first_rung_is_where_the_serving_student_stands_now():
    begun = after(ramping(), EVENTS["NewSuccessor"])
    higher, lower = candidate(after(begun, EVENTS["Advance"])), candidate(after(begun, EVENTS["StepDown"]))
    assert higher is not None
    assert lower is not None
    assert (higher.ladder.shares_bp, lower.ladder.shares_bp) == ((0, 1000, 5000), (0, 100, 1000, 5000))
    with pytest.raises(IllegalTransition, match="no rung to take over"):
        step(replace(begun, rung=0), EVENTS["Succeed"])


@pytest.mark.parametrize("event", ["RollBack", "Rollback", "NewEpoch", "NewStudent", "ChangeMode"])
def test_what_takes_the_serving_student_away_ends_its_successor(event: str):
    assert after(ramping(), EVENTS["NewSuccessor"], EVENTS[event]).successor is None


def test_a_successor_that_was_dismissed_is_remembered():
    gone = after(ramping(), EVENTS["NewSuccessor"], EVENTS["Dismiss"])
    assert (gone.successor, gone.dismissed, gone.student, gone.share_bp) == (None, "v2", "v1", 100)
    with pytest.raises(IllegalTransition, match="there is no successor"):
        step(gone, EVENTS["Dismiss"])


def test_every_successor_that_was_tried_costs_the_next_student_its_share_of_alpha():
    twice = after(ramping(alpha_index=2), *(EVENTS[name] for name in ("NewSuccessor", "Dismiss") * 2))
    third = candidate(after(twice, EVENTS["NewSuccessor"]))
    assert third is not None
    assert (twice.alpha_index, third.alpha_index) == (2, 5)
    assert after(twice, EVENTS["NewSuccessor"], EVENTS["Succeed"]).alpha_index == 5
    assert after(twice, EVENTS["NewSuccessor"], EVENTS["Rollback"], EVENTS["Resume"]).alpha_index == 6
    assert after(twice, EVENTS["Promote"], EVENTS["Rollback"], EVENTS["Resume"]).alpha_index == 1


# --- operator verbs ---------------------------------------------------------------------------------------------------


def test_pause_stops_promotion_while_step_down_and_rollback_still_act():
    paused = after(ramping(rung=2, share_bp=1000), EVENTS["Pause"])
    with pytest.raises(IllegalTransition):
        step(paused, EVENTS["Advance"])
    lower = after(paused, EVENTS["StepDown"])
    assert (lower.phase, lower.share_bp) == (Phase.HELD, 100)
    assert after(paused, EVENTS["RollBack"]).phase is Phase.ROLLED_BACK


def test_resume_leaves_the_holds_of_the_controller():
    both = after(ramping(), EVENTS["Hold"], EVENTS["Pause"], EVENTS["Resume"])
    assert (both.phase, both.holds) == (Phase.HELD, frozenset({"missing"}))
    released = after(both, Release(**TOLD, hold="missing"))
    assert (released.phase, released.holds) == (Phase.RAMPING, frozenset())


@pytest.mark.parametrize("name", [OPERATOR, FUTILITY, "never set"])
def test_the_controller_releases_only_what_is_its_own(name: str):
    held = ramping(phase=Phase.HELD, holds=frozenset({OPERATOR, FUTILITY, "judge"}))
    with pytest.raises(IllegalTransition):
        step(held, Release(**TOLD, hold=name))


@pytest.mark.parametrize("name", [OPERATOR, "judge"])
def test_the_controller_cannot_pause_and_holds_once(name: str):
    with pytest.raises(IllegalTransition):
        step(COLUMNS["held"], Hold(**TOLD, hold=name))


def test_a_promotion_past_the_evidence_names_who_did_it_until_the_epoch_ends():
    waived = after(ramping(), Promote(**TOLD, waived=True))
    assert (waived.waived_by, waived.confirmed) == ("ann", False)
    assert after(waived, EVENTS["Pause"], EVENTS["Resume"]).waived_by == "ann"
    assert after(waived, EVENTS["NewEpoch"]).waived_by is None


def test_a_confirmed_promotion_gives_the_next_attempt_its_first_alpha_back():
    confirmed = after(ramping(alpha_index=3), EVENTS["Promote"], EVENTS["Rollback"], EVENTS["Resume"])
    assert (confirmed.alpha_index, confirmed.attempt, confirmed.confirmed) == (1, 2, False)
    waived = after(ramping(alpha_index=3), Promote(**TOLD, waived=True), EVENTS["Rollback"], EVENTS["Resume"])
    assert waived.alpha_index == 4


def test_promotion_ends_at_the_last_rung():
    top = after(ramping(rung=2, share_bp=1000), EVENTS["Promote"])
    assert (top.phase, top.share_bp) == (Phase.COMPLETE, 5000)
    held = after(top, EVENTS["Hold"])
    with pytest.raises(IllegalTransition, match="last rung"):
        step(held, EVENTS["Promote"])


def test_a_rolled_back_rollout_resumes_as_a_new_attempt_with_a_new_salt_on_rung_0():
    gone = after(ramping(holds=frozenset({FUTILITY, OPERATOR}), phase=Phase.HELD), EVENTS["RollBack"])
    assert gone.holds == {OPERATOR}
    again = after(gone, EVENTS["Resume"])
    assert (again.phase, again.rung, again.share_bp, again.holds) == (Phase.SHADOW, 0, 0, frozenset())
    assert (again.attempt, again.alpha_index, again.salt, again.epoch) == (2, 2, "s2", "e1")


@pytest.mark.parametrize(("share_bp", "rung"), [(0, 0), (99, 0), (100, 1), (999, 1), (1000, 2), (4999, 2), (10_000, 3)])
def test_resume_after_a_share_by_hand_goes_to_the_rung_at_or_below(share_bp: int, rung: int):
    resumed = after(ramping(), SetShare(**TOLD, share_bp=share_bp), EVENTS["Resume"])
    assert (resumed.rung, resumed.share_bp) == (rung, LADDER.shares_bp[rung])


@pytest.mark.parametrize("share_bp", [-1, 10_001])
def test_a_share_that_is_none_is_refused(share_bp: int):
    with pytest.raises(IllegalTransition, match=str(share_bp)):
        step(ramping(), SetShare(**TOLD, share_bp=share_bp))


def test_kill_overrides_whatever_happens_until_it_is_cleared():
    killed = after(ramping(), EVENTS["Kill"], EVENTS["Advance"], EVENTS["Kill"])
    assert (killed.share_in_force_bp, killed.share_bp) == (0, 1000)
    assert after(killed, EVENTS["NewStudent"]).killed
    assert after(killed, EVENTS["Clear"]).share_in_force_bp == 1000
    with pytest.raises(IllegalTransition, match="not killed"):
        step(ramping(), EVENTS["Clear"])


# --- configuration ----------------------------------------------------------------------------------------------------


def test_a_new_student_starts_over_and_spends_the_next_alpha():
    new = after(ramping(waived_by="ann"), EVENTS["NewStudent"])
    assert (new.student, new.epoch, new.salt, new.attempt, new.alpha_index) == ("v2", "e2", "s2", 2, 2)
    assert new.waived_by is None


def test_a_new_student_serves_nothing_on_a_fixed_split_until_somebody_sets_its_share():
    new = after(rollout(mode=Mode.FIXED, initial_bp=1000, phase=Phase.MANUAL, share_bp=1000), EVENTS["NewStudent"])
    assert (new.phase, new.share_bp) == (Phase.MANUAL, 0)
    assert after(new, EVENTS["SetShare"]).share_bp == 250


def test_an_operators_pause_outlives_a_new_student_and_futility_does_not():
    held = ramping(phase=Phase.HELD, holds=frozenset({OPERATOR, FUTILITY, "judge"}))
    assert after(held, EVENTS["NewStudent"]).holds == {OPERATOR}


def test_a_new_epoch_holds_the_rung_until_its_evidence_reaches_it():
    held = after(ramping(holds=frozenset({FUTILITY}), phase=Phase.HELD), EVENTS["NewEpoch"])
    assert held.holds == {EPOCH}
    assert after(held, Release(**TOLD, hold=EPOCH)).phase is Phase.RAMPING
    assert after(held, EVENTS["StepDown"]).holds == frozenset(), "on rung 0 there is nothing left to earn again"


def test_a_new_ladder_takes_the_rung_at_or_below_the_old_share():
    lower = NewEpoch(**TOLD, epoch="e2", ladder=Ladder(shares_bp=(0, 500, 2000)))
    moved = after(rollout(phase=Phase.COMPLETE, rung=3, share_bp=5000), lower)
    assert (moved.rung, moved.share_bp) == (2, 2000)
    by_hand = after(COLUMNS["MANUAL"], lower)
    assert (by_hand.rung, by_hand.share_bp) == (0, 300)


def test_observe_only_serves_nothing_and_cannot_be_talked_into_it():
    watching = after(ramping(), ChangeMode(**TOLD, mode=Mode.OBSERVE, share_bp=0))
    assert (watching.phase, watching.share_bp) == (Phase.SHADOW, 0)
    for event in ("Advance", "Promote", "SetShare"):
        with pytest.raises(IllegalTransition):
            step(watching, EVENTS[event])


def test_within_a_mode_what_people_set_wins_over_what_is_configured():
    by_hand = after(ramping(phase=Phase.MANUAL, mode=Mode.FIXED, share_bp=300), EVENTS["ChangeMode"])
    assert (by_hand.share_bp, by_hand.initial_bp) == (300, 700)


def test_a_fixed_split_begins_at_its_share_and_has_no_ladder_to_resume():
    fixed = after(rollout(mode=Mode.FIXED, initial_bp=1000), EVENTS["Begin"])
    assert (fixed.phase, fixed.share_bp) == (Phase.MANUAL, 1000)
    with pytest.raises(IllegalTransition, match="set the share"):
        step(fixed, EVENTS["Resume"])


# --- any sequence -----------------------------------------------------------------------------------------------------


def told(kind: type[Event], **fields: Any) -> st.SearchStrategy[Event]:
    return st.builds(kind, at=st.floats(0, 1e9), actor=st.just("ann"), reason=st.just("r"), **fields)


HOLD_NAMES = st.sampled_from(["judge", "missing", FUTILITY, TEACHER, EPOCH])
LADDERS = st.sampled_from([LADDER, Ladder(shares_bp=(0, 50, 9000)), Ladder(shares_bp=(0, 10_000))])
ANY_EVENT = st.one_of(
    *(told(kind) for kind in (Begin, Advance, StepDown, RollBack, Pause, Rollback, Kill, Clear)),
    told(Hold, hold=HOLD_NAMES),
    told(Release, hold=HOLD_NAMES),
    told(Resume, salt=st.text(max_size=3)),
    told(Promote, waived=st.booleans()),
    told(SetShare, share_bp=st.integers(-1, 10_001)),
    told(NewStudent, student=st.just("v2"), epoch=st.just("e"), salt=st.just("s"), ladder=LADDERS),
    told(NewEpoch, epoch=st.just("e"), ladder=LADDERS),
    told(ChangeMode, mode=st.sampled_from(list(Mode)), share_bp=st.integers(0, 10_000)),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(Mode)), st.lists(ANY_EVENT, max_size=25))
def test_after_any_events_the_rollout_is_one_that_can_be_explained(mode: Mode, events: list[Event]):
    now = rollout(mode=mode)
    for event in events:
        was = now
        try:
            now, _ = step(now, event)
        except IllegalTransition:
            assert now is was
            continue
        assert now.revision == was.revision + 1
        assert_sound(now)
        if isinstance(event, Advance | StepDown):
            assert abs(now.rung - was.rung) == 1
        if now.mode is not Mode.FIXED and not isinstance(
            event, Advance | Promote | SetShare | Resume | ChangeMode | Clear
        ):
            assert now.share_in_force_bp <= was.share_in_force_bp, "nothing else gives the student more"


def assert_sound(now: Rollout) -> None:
    on_ladder = now.phase in (Phase.SHADOW, Phase.RAMPING, Phase.HELD, Phase.COMPLETE)
    assert 0 <= now.rung <= now.ladder.top
    assert 0 <= now.share_bp <= 10_000
    if on_ladder:
        assert now.share_bp == now.ladder.share_bp(now.rung)
        assert (now.phase is Phase.HELD) == bool(now.holds)
    if now.phase in (Phase.PENDING, Phase.ROLLED_BACK, Phase.SHADOW) or now.killed or now.mode is Mode.OBSERVE:
        assert now.share_in_force_bp == 0
    if now.mode is Mode.FIXED:
        assert now.phase in (Phase.PENDING, Phase.MANUAL, Phase.ROLLED_BACK)
    assert max(now.since.evidence, now.since.fresh, now.since.hold, now.since.down, now.since.back) <= now.revision
