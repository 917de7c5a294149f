"""Parallel rollouts through real processes: who climbs, who does not, and who is brought back.

One gateway, one control and one worker; every student answers with recorded answers, mixed to a known mean d. Short with a
few routes, long with 200 (`make nightly`). The figures are printed; `pytest -s` shows them.
"""

import statistics
from pathlib import Path

import pytest

from router.rollout import EPOCH, Phase, Rollout
from scoring.stats.binomial import lower_limit
from scoring.stats.ladder import rung_alphas
from tests.system.driving import until
from tests.system.fleet import STAGES_BP, Fleet, Story, rolled_back, running_fleet
from tests.system.replayed import BOUNDARY, HARMFUL, JUDGE, LOST
from tutelage.contracts.routes import RolloutSettings

SEED = 20_261_124
SURE = 0.9999
"""So sure must one be that a rung was reached too often. By chance five of eight reach the first one once in a million runs."""
SHED = 4
"""So many requests may be needed for a pair: on a slow machine the gateway sheds shadows."""
OUTAGE = 600
"""Requests while the judge is down: enough for the next rung, were those counted that need no judge."""
MANY = 100
"""With fewer routes the pairs that wait for their score are a large part of the delay."""
MANY_TURNS = 30_000
"""A conversation counts when it has been silent; on a busy machine thousands of turns have come by then."""
DOWN_PAIRS, BACK_PAIRS = 200, 420
"""A fifth more than the same student takes in a single stream that is looked at after every pair: 168 and 349."""
TURNS = 4
"""Of a session, at most."""
QUIET_S = 2.0
"""Then a conversation is over: longer than a busy machine takes between two turns."""
FIRST_BP, TOP_BP = STAGES_BP[1], STAGES_BP[-1]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def named(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def on_the_first_rung(rollout: Rollout) -> bool:
    return rollout.share_bp >= FIRST_BP


def tell(words: str) -> None:
    """A figure, for whoever runs this with `-s`."""
    print(f"\n{words}")  # noqa: T201 the figure is what the long form is run for


def top_of(fleet: Fleet, route: str) -> int:
    """The highest share that the route ever had, basis points."""
    return max((decision.to_bp for decision in fleet.decisions(route)), default=0)


@pytest.mark.parametrize("routes", [8, pytest.param(200, marks=pytest.mark.nightly)])
async def test_equal_students_climb_to_the_top_and_those_that_degrade_are_brought_back(tmp_path: Path, routes: int):
    climbing, degrading = named("climb", routes // 2), named("fall", routes // 2)
    stories = [Story(route=name) for name in climbing]
    stories += [Story(route=name, degrades_at_bp=5_000, until=rolled_back) for name in degrading]
    async with running_fleet(tmp_path, [*climbing, *degrading]) as fleet:
        await fleet.play(stories, SEED)
        tops = {name: top_of(fleet, name) for name in [*climbing, *degrading]}
        again = fleet.decided_otherwise(tops)
        falls = [_fall(fleet, story) for story in stories if story.degraded_at is not None]

    assert [name for name in climbing if tops[name] < TOP_BP] == []
    assert again == []
    assert len(falls) == len(degrading)
    down, back = zip(*falls, strict=True)
    requests = statistics.fmean(story.requests for story in stories[: len(climbing)])
    tell(f"to {TOP_BP / 100:g} % in {requests:,.0f} requests")
    for what, pairs, at_most in (("step-down", down, DOWN_PAIRS), ("shadow", back, BACK_PAIRS)):
        tell(
            f"pairs from the change to {what}: {statistics.fmean(pairs):,.0f}, p90 {sorted(pairs)[len(pairs) * 9 // 10]:,}"
        )
        assert routes < MANY or statistics.fmean(pairs) <= at_most


def _fall(fleet: Fleet, story: Story) -> tuple[int, int]:
    """Pairs from the moment its student got worse to the step-down, and to the return to shadow."""
    assert story.degraded_at is not None
    after = [decision for decision in fleet.decisions(story.route) if decision.at >= story.degraded_at]
    downs = [decision.at for decision in after if decision.to_bp < decision.from_bp]
    backs = [decision.at for decision in after if decision.to_bp == 0]
    assert backs, f"{story.route} was not brought back: {[(row.event, row.to_bp) for row in after]}"
    return (
        fleet.scored_between(story.route, story.degraded_at, downs[0]),
        fleet.scored_between(story.route, story.degraded_at, backs[0]),
    )


@pytest.mark.parametrize(("routes", "pairs"), [(8, 500), pytest.param(200, 2_000, marks=pytest.mark.nightly)])
async def test_students_at_the_margin_reach_a_rung_no_more_often_than_allowed(tmp_path: Path, routes: int, pairs: int):
    names = named("bad", routes)
    async with running_fleet(tmp_path, names) as fleet:
        stories = [
            Story(route=name, kind=BOUNDARY, pairs_at_most=pairs, requests_at_most=SHED * pairs) for name in names
        ]
        await fleet.play(stories, SEED)
        tops = [top_of(fleet, name) for name in names]
        scored = [fleet.store.depth(name).scored for name in names]

    assert min(scored) >= pairs
    alphas = rung_alphas(STAGES_BP[1:], alpha=RolloutSettings().alpha)
    for share_bp, alpha in zip(STAGES_BP[1:], alphas, strict=True):
        reached = sum(top >= share_bp for top in tops)
        tell(f"{share_bp / 100:g} %: {reached} of {routes}, at most {alpha:.3f} allowed")
        assert lower_limit(reached, routes, confidence=SURE) <= alpha


async def test_a_new_teacher_leaves_the_share_and_restarts_the_evidence(tmp_path: Path):
    name = "changed"
    async with running_fleet(tmp_path, [name]) as fleet:
        await fleet.play([Story(route=name, until=on_the_first_rung)], SEED)
        await fleet.decided()
        reached = fleet.decisions(name)[-1].to_bp
    async with running_fleet(tmp_path, [name], teacher_version="2") as fleet:
        await until(lambda: EPOCH in fleet.rollout(name).holds)
        changed = fleet.rollout(name)
        before = len(fleet.decisions(name))
        await fleet.play([Story(route=name)], SEED + 1)
        after = fleet.decisions(name)[before:]

    assert reached >= FIRST_BP
    assert (changed.share_bp, changed.phase) == (reached, Phase.HELD)
    assert max(row.to_bp for row in after) == TOP_BP, "a detector may hold it there"
    kept = next(row for row in after if row.event == "Release" and EPOCH in row.reason)
    earned = next(row for row in after if row.to_bp > row.from_bp)
    assert kept.to_bp == reached
    assert kept.at <= earned.at, "the rung that it stands on is earned again before the next one"


async def test_a_judge_outage_freezes_the_rollout_and_loses_nothing(tmp_path: Path):
    name = "judged"
    async with running_fleet(tmp_path, [name], rubric="judged@1") as fleet:
        await fleet.play([Story(route=name, until=on_the_first_rung)], SEED)
        await fleet.decided()
        await fleet.make(JUDGE, "down")
        before = fleet.decisions(name)
        outage = Story(route=name, requests_at_most=OUTAGE)
        await fleet.drive([outage], SEED + 1)
        await fleet.joined()
        during, waiting = fleet.decisions(name)[len(before) :], fleet.store.depth(name).waiting
        await fleet.make(JUDGE, "up")
        await fleet.play([Story(route=name)], SEED + 2)
        top, depth = top_of(fleet, name), fleet.store.depth(name)
        again = fleet.decided_otherwise([name])
        judged = [fleet.store.judgements(pair.id) for pair in fleet.store.pairs(name, 100_000)]

    assert outage.requests == OUTAGE
    assert [row.to_bp for row in during if row.to_bp > row.from_bp] == []
    assert waiting > 0
    assert top == TOP_BP
    assert depth.waiting == 0
    assert again == []
    assert all(len(rows) == 1 and rows[0].failure is None for rows in judged)
    assert {"judge", "check"} >= {rows[0].method for rows in judged}


async def test_a_successor_is_shadowed_beside_the_serving_student_and_takes_over_on_its_rung(tmp_path: Path):
    name, heir = "inherited", "heir"
    async with running_fleet(tmp_path, [name]) as fleet:
        await fleet.play([Story(route=name, until=on_the_first_rung)], SEED)
        await fleet.decided()
        serving, before = fleet.rollout(name), len(fleet.decisions(name))
    async with running_fleet(tmp_path, [name], heir=heir) as fleet:
        await until(lambda: fleet.rollout(name).successor is not None)
        beside = fleet.rollout(name)
        await fleet.drive([Story(route=name, until=lambda rollout: rollout.student == f"{heir}@1")], SEED + 1)
        taken, after = fleet.rollout(name), fleet.decisions(name)[before:]
        await fleet.drive([Story(route=name)], SEED + 2)
        ended, again = fleet.rollout(name), fleet.decided_otherwise([name])
        tops = [row.to_bp for row in fleet.decisions(name)[before:]]

    assert again == []
    assert (beside.student, beside.share_bp) == (serving.student, serving.share_bp)
    assert beside.successor is not None
    assert beside.successor.student == f"{heir}@1"
    assert (taken.student, taken.successor) == (f"{heir}@1", None)
    assert min(row.to_bp for row in after) >= serving.share_bp, (
        "nobody loses traffic to a student that was proven beside it"
    )
    assert (ended.student, max(tops)) == (f"{heir}@1", TOP_BP)


async def test_slices_that_climb_apart_reach_the_top_while_one_whose_student_is_bad_stays_with_the_teacher(
    tmp_path: Path,
):
    name = "carved"
    good, bad = [name, f"{name}:gold"], f"{name}:basic"
    async with running_fleet(tmp_path, [*good, bad]) as fleet:
        stories = [Story(route=route) for route in good]
        stories += [Story(route=bad, kind=HARMFUL, until=lambda _: all(story.over for story in stories[:2]))]
        await fleet.play(stories, SEED)
        tops = {route: top_of(fleet, route) for route in [*good, bad]}
        scored = {route: fleet.store.depth(route).scored for route in tops}
        again = fleet.decided_otherwise(tops)
        served = {pair.route: pair.slices for route in tops for pair in fleet.store.pairs(route, 1_000)}

    assert {route: tops[route] for route in good} == dict.fromkeys(good, TOP_BP)
    assert tops[bad] <= FIRST_BP, "by chance one in 10,000 gets there, and at once back"
    assert again == []
    assert served == {name: {"slice": "rest"}, f"{name}:gold": {"slice": "gold"}, bad: {"slice": "basic"}}
    tell(f"pairs of each part: {scored}")
    assert scored[bad] > MANY, "it was measured as long as the others climbed"


async def test_conversations_are_counted_whole_and_a_student_that_gets_lost_in_later_turns_is_brought_back(
    tmp_path: Path,
):
    good, lost = "talk", "astray"
    stories = [Story(route=good, turns=TURNS, requests_at_most=MANY_TURNS)]
    stories += [
        Story(
            route=lost,
            turns=TURNS,
            degrades_at_bp=5_000,
            worse=LOST,
            until=rolled_back,
            requests_at_most=MANY_TURNS,
        )
    ]
    async with running_fleet(tmp_path, [good, lost], unit="conversation", conversation_idle=f"{QUIET_S:g}s") as fleet:
        await fleet.play(stories, SEED)
        await until(lambda: fleet.units(good) >= fleet.conversations(good), within_s=60.0)
        tops = {name: top_of(fleet, name) for name in (good, lost)}
        units, conversations = fleet.units(good), fleet.conversations(good)
        turns = fleet.store.depth(good).scored
        again = fleet.decided_otherwise(tops)
        back = fleet.rollout(lost)

    assert tops[good] == TOP_BP
    assert (back.phase, tops[lost] >= 5_000) == (Phase.ROLLED_BACK, True)
    assert again == []
    tell(f"{turns} turns of {conversations} conversations, counted as {units} units")
    assert units <= conversations * 1.05, "those that were cut in two where the machine paused"
    assert turns > 2 * conversations
