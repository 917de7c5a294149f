import getpass
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import typer

from router.events import Advance
from router.rollout import OPERATOR, Phase, Rollout
from router.types import Direction
from scoring.gates import controller
from tests.tutelage.cli.conftest import Site
from tests.tutelage.store.made import decision, epoch
from tests.tutelage.store.made import rollout as other_rollout
from tutelage.cli.routes import share_of
from tutelage.contracts.decisions import CellNumbers, Unit
from tutelage.contracts.ids import uuid7
from tutelage.contracts.load import load
from tutelage.contracts.records import Spending
from tutelage.contracts.signals import Signals, Watch
from tutelage.control.remaining import pair_usd_of
from tutelage.control.snapshot import Publisher, Sources
from tutelage.store import database
from tutelage.store.apply import Basis, apply, create
from tutelage.store.base import Fold, Joined

ESCAPE = "\x1b[31m\x07"


def standing(site: Site, route: str = "triage") -> Rollout:
    rollout = site.store.rollout(route)
    assert rollout is not None
    return rollout


@pytest.fixture
def unreachable(begun: Site, monkeypatch) -> Any:
    """The store is locked by somebody who never lets go."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    blocker = sqlite3.connect(begun.data_dir / "tutelage.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    yield begun
    blocker.close()


# --- verbs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "phase", "share_bp", "event"),
    [
        (("split", "triage", "2.5%"), Phase.MANUAL, 250, "SetShare"),
        (("pause", "triage"), Phase.HELD, 0, "Pause"),
        (("promote", "triage"), Phase.RAMPING, 100, "Promote"),
        (("rollback", "triage"), Phase.ROLLED_BACK, 0, "Rollback"),
    ],
)
def test_a_verb_moves_the_rollout_in_the_users_name(
    begun: Site, verb: tuple[str, ...], phase: Phase, share_bp: int, event: str
):
    answered = begun.run(*verb, "--reason", "we looked", "--json")
    assert answered.code == 0
    assert (answered.document["phase"], answered.document["share_bp"]) == (phase, share_bp)
    after = standing(begun)
    assert (after.phase, after.share_bp, after.revision) == (phase, share_bp, 3)
    written = begun.store.history("triage")[0]
    assert (written.event, written.actor, written.reason) == (event, f"cli:{getpass.getuser()}", "we looked")


def test_resume_ends_a_pause(begun: Site):
    begun.run("pause", "triage")
    assert OPERATOR in standing(begun).holds
    assert begun.run("resume", "triage").code == 0
    assert standing(begun).phase is Phase.SHADOW


def test_resume_after_a_rollback_opens_an_attempt_with_another_salt(begun: Site):
    begun.run("rollback", "triage")
    before = standing(begun)
    assert begun.run("resume", "triage").code == 0
    after = standing(begun)
    assert after.attempt == before.attempt + 1
    assert after.salt != before.salt


def test_a_promotion_past_the_evidence_waives_the_guarantee_and_says_so(begun: Site):
    answered = begun.run("promote", "triage")
    assert "the guarantee is waived in your name" in answered.out
    assert standing(begun).waived_by == f"cli:{getpass.getuser()}"


def folded(begun: Site, count: int, d: float, every_s: float = 0.0) -> None:
    """`count` forward units of different users in the route's gate."""
    rollout, declared = standing(begun), epoch()
    units = [
        Unit(
            id=f"u{number}",
            route="triage",
            epoch=declared.id,
            direction=Direction.FORWARD,
            revision=rollout.revision,
            key=f"k{number}",
            d=d,
            first_at=3.0 + number * every_s,
            last_at=3.0 + number * every_s,
        )
        for number in range(count)
    ]
    state = controller.fold_all(controller.initial(rollout, declared), units, rollout, declared)
    lease = begun.store.acquire("control", "test", 10.0, 0.0)
    assert lease is not None
    assert begun.store.fold(
        Fold(route="triage", revision=1, folded=(), gate_state=controller.encode(state), lease=lease)
    )


def test_a_promotion_on_proven_evidence_is_the_approval(begun: Site):
    folded(begun, 200, 0.5)
    assert begun.run("explain", "triage", "--json").document["gates"]["proven"] is True
    answered = begun.run("promote", "triage")

    assert "waived" not in answered.out
    assert standing(begun).confirmed is True
    assert standing(begun).waived_by is None


def test_kill_and_clear(begun: Site):
    begun.run("split", "triage", "10")
    assert begun.run("kill", "triage").code == 0
    assert standing(begun).share_in_force_bp == 0
    assert begun.run("clear", "triage").code == 0
    assert standing(begun).share_in_force_bp == 1000


def test_the_right_revision_is_let_through_and_a_stale_one_is_not(begun: Site):
    assert begun.run("pause", "triage", "--revision", "2").code == 0
    answered = begun.run("rollback", "triage", "--revision", "2")
    assert answered.code == 3
    assert "at revision 3, not 2" in answered.err
    assert standing(begun).revision == 3


def test_a_verb_that_does_not_apply_is_refused(begun: Site):
    answered = begun.run("resume", "triage")
    assert answered.code == 1
    assert answered.out == ""
    assert answered.err.startswith("tutelage: Resume does not apply to route 'triage' in phase SHADOW")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pause", "nowhere"), "no route 'nowhere'; there are fixed, plain, triage"),
        (("pause", "plain"), "route 'plain' has no student"),
        (("pause", "fixed"), "route 'fixed' is not published yet"),
        (("kill", "../../etc"), "no route '../../etc'"),
        (("status", "nowhere"), "no route 'nowhere'"),
        (("explain", "plain"), "route 'plain' has no student"),
        (("history", "nowhere"), "no route 'nowhere'"),
    ],
)
def test_an_unknown_name_is_exit_code_3(begun: Site, arguments: tuple[str, ...], message: str):
    answered = begun.run(*arguments)
    assert answered.code == 3
    assert message in answered.err


@pytest.mark.parametrize(("text", "share_bp"), [("0", 0), ("10", 1000), ("2.5%", 250), ("0.01 %", 1), ("100%", 10_000)])
def test_a_share_is_read_in_percent(text: str, share_bp: int):
    assert share_of(text) == share_bp


@pytest.mark.parametrize("text", ["", "101", "-1", "1e1", "0.001", "ten", "10%%", "nan", "1,5"])
def test_what_is_no_share_is_refused(text: str):
    with pytest.raises(typer.BadParameter, match="in percent"):
        share_of(text)


def test_a_bad_share_is_a_usage_error(begun: Site):
    assert begun.run("split", "triage", "150").code == 2
    assert standing(begun).revision == 2


# --- kill without a store ---------------------------------------------------------------------------------------------


def test_kill_leaves_a_file_where_the_store_is_out_of_reach(unreachable: Site):
    answered = unreachable.run("kill", "triage", "--reason", "it burns")
    file = unreachable.data_dir / "kill" / "triage"
    assert answered.code == 0
    assert "it burns" in file.read_text()
    assert "out of reach" in answered.out
    assert str(file) in answered.out


def test_other_verbs_fail_with_exit_code_4_where_the_store_is_out_of_reach(unreachable: Site):
    answered = unreachable.run("pause", "triage")
    assert answered.code == 4
    assert "locked" in answered.err


def test_clear_removes_the_file_and_says_that_the_store_was_not_asked(unreachable: Site):
    unreachable.run("kill", "triage")
    answered = unreachable.run("clear", "triage")
    assert answered.code == 4
    assert "still stands" in answered.err
    assert not (unreachable.data_dir / "kill" / "triage").exists()


def test_clear_takes_back_a_kill_that_is_a_file_only(begun: Site):
    file = begun.data_dir / "kill" / "triage"
    file.parent.mkdir()
    file.touch()
    assert "KILLED on this host" in begun.run("status", "triage").out
    assert begun.run("clear", "triage").code == 0
    assert not file.exists()
    assert begun.run("clear", "triage").code == 1


def test_a_kill_of_an_unknown_route_leaves_no_file_anywhere(unreachable: Site, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    assert unreachable.run("kill", "../../nowhere").code == 3
    assert sorted(tmp_path.rglob("*")) == before


# --- reading ----------------------------------------------------------------------------------------------------------


def test_status_lists_every_route(begun: Site):
    answered = begun.run("status")
    assert answered.code == 0
    lines = answered.out.splitlines()
    assert lines[0].startswith("fixed: no rollout yet")
    assert lines[1].startswith("plain: gpt serves everything")
    assert lines[2].startswith("triage: small@v7 SHADOW at 0.00 %, rung 0, attempt 1, revision 2")
    documents = begun.run("status", "--json").document["routes"]
    assert [row["route"] for row in documents] == ["fixed", "plain", "triage"]


def test_status_of_one_route_is_its_document(begun: Site):
    document = begun.run("status", "triage", "--json").document
    assert (document["route"], document["phase"], document["revision"]) == ("triage", "SHADOW", 2)
    assert document["queue"] == {"waiting": 0, "scored": 0, "oldest_admitted_at": None, "exclusions": {}}
    assert document["drift"] is None


def test_status_tells_what_the_teachers_terms_say_of_training(begun: Site):
    begun.config.write_text(begun.config.read_text().replace("model: m,", "model: m, training_use: denied,"))
    assert "training on gpt's answers: denied" in begun.run("status", "triage").out
    assert begun.run("status", "triage", "--json").document["training_use"] == "denied"


def test_status_shows_where_the_configuration_says_otherwise(begun: Site):
    begun.config.write_text(begun.config.read_text().replace("version: v7", "version: v8"))
    assert "drift: the configuration declares student small@v8" in begun.run("status", "triage").out


def test_explain_gives_the_last_decision_and_its_numbers(begun: Site):
    cell = CellNumbers(cell="forward/all/quality", n=70, mean_d=0.012, log_e=2.5, threshold=1.609)
    event = Advance(at=3.0, actor="controller", reason="it earned 1 %")
    apply(
        begun.store,
        "triage",
        event,
        expected_revision=2,
        new_id=uuid7,
        basis=Basis(cells=(cell,), detectors={"down": 0.25}),
    )
    answered = begun.run("explain", "triage")
    assert answered.code == 0
    assert "Advance  0 % → 1 %  SHADOW → RAMPING  by controller: it earned 1 %" in answered.out
    assert "forward/all/quality: n 70, mean d 0.012, log E 2.500 against 1.609 (reached)" in answered.out
    assert "detectors: down 0.250" in answered.out
    assert "every required cell has passed: no" in answered.out


def test_explain_tells_the_last_move_from_the_refusals_after_it(begun: Site):
    begun.store.refuse(decision("d1", event="Stay", revision_from=2, revision_to=2, reason="too early to say"))
    lines = begun.run("explain", "triage").out.splitlines()
    assert lines[1].startswith("last move: ")
    assert lines[1].endswith("by configuration: it may be measured")
    assert lines[2].startswith("last refusal: ")
    assert lines[2].endswith("too early to say")
    document = begun.run("explain", "triage", "--json").document
    assert (document["move"]["event"], document["decision"]["event"]) == ("Begin", "Stay")


def test_explain_as_json_holds_decision_and_gate(begun: Site):
    document = begun.run("explain", "triage", "--json").document
    assert document["decision"]["event"] == "Begin"
    assert document["gates"]["proven"] is False
    assert document["gates"]["blockers"]


def test_what_control_sees_of_the_machinery_is_explained_and_its_alarms_are_in_the_status(begun: Site):
    calm = begun.run("explain", "triage").out
    assert "as control saw it" not in calm
    split = Watch(words="the student has 200 of 200 users where the split planned 20", alarm=True)
    seen = Signals(at=1_790_000_000.0, capture=Watch(words="gateways lost 0 of the last 9 records"), split=split)
    begun.store.put_signals({"triage": seen})
    told = begun.run("explain", "triage").out
    assert "as control saw it at 2026-09-21 14:13:20Z:" in told
    assert "ALARM, split: the student has 200 of 200 users" in told
    assert "    capture: gateways lost 0 of the last 9 records" in told
    status = begun.run("status", "triage")
    assert "; ALARM, split: the student has 200" in status.out
    assert begun.run("status", "triage", "--json").document["alarms"] == {"split": split.words}


def test_every_standing_hold_is_explained_by_who_began_it(begun: Site):
    begun.run("pause", "triage", "--reason", "the release is on Monday")
    begun.run("split", "triage", "10", "--reason", "meanwhile")
    told = begun.run("explain", "triage").out
    assert f"by cli:{getpass.getuser()}: the release is on Monday" in told
    assert "held (operator) since " in told


def test_explain_works_where_no_gate_reads_the_route(begun: Site):
    create(begun.store, other_rollout("fixed"), epoch=None, actor="test", reason="made", at=1.0, new_id=uuid7)
    answered = begun.run("explain", "fixed")
    assert answered.code == 0
    assert "no gate reads this route" in answered.out


def test_a_decision_that_the_records_do_not_give_again_is_named_and_the_exit_code_says_so(begun: Site):
    same = begun.run("history", "triage", "--replay")
    assert (same.code, "0 different" in same.out) == (0, True)
    event = Advance(at=3.0, actor="controller", reason="nobody knows why")
    apply(
        begun.store, "triage", event, expected_revision=2, new_id=uuid7, basis=Basis(folds=0, detectors={"down": 7.0})
    )
    found = begun.run("history", "triage", "--replay")
    assert found.code == 1
    assert "event: recorded 'Advance', decided again 'Stay'" in found.out
    assert "detector down: recorded 7.0, again 0.0" in found.out
    document = begun.run("history", "triage", "--replay", "--json").document["replay"]
    assert (document["different"], document["same"], document["unknown"]) == (1, 0, 0)


def test_history_is_newest_first(begun: Site):
    begun.run("pause", "triage")
    begun.run("resume", "triage")
    lines = begun.run("history", "triage").out.splitlines()
    assert [line.split()[3] for line in lines] == ["Resume", "Pause", "Begin", "Create"]
    document = begun.run("history", "triage", "--limit", "2", "--json").document
    assert [row["event"] for row in document["decisions"]] == ["Resume", "Pause"]


def test_control_characters_never_reach_the_terminal(begun: Site):
    begun.run("pause", "triage", "--reason", f"look{ESCAPE}here")
    begun.run("keys", "create", "--label", f"mine{ESCAPE}")
    for command in (("history", "triage"), ("explain", "triage"), ("keys", "list"), ("status", f"x{ESCAPE}")):
        answered = begun.run(*command)
        assert "\x1b" not in answered.out + answered.err
        assert "\x07" not in answered.out + answered.err
    assert "look\N{REPLACEMENT CHARACTER}[31m" in begun.run("history", "triage").out
    assert begun.run("history", "triage", "--json").document["decisions"][0]["reason"] == f"look{ESCAPE}here"


# --- money ------------------------------------------------------------------------------------------------------------


def spend(site, **fields):
    rows = [
        Spending(route="triage", day=day, account=name, calls=calls, unpriced=unpriced, nusd=round(usd * 1e9))
        for name, (day, calls, unpriced, usd) in fields.items()
    ]
    site.store.join(Joined(spent=rows))


def test_what_was_saved_is_shown_with_status_and_explain(begun):
    spend(begun, teacher=(3, 100, 0, 2.0), student=(4, 100, 0, 0.25), judge=(4, 10, 0, 0.5))
    assert "net saving $1.25" in begun.run("status", "triage").out
    assert "avoided $2.00; spent: teacher $2.00, student $0.25, judge $0.50" in begun.run("explain", "triage").out
    money = begun.run("explain", "triage", "--json").document["economics"]
    assert (money["net_usd"], money["days"], money["unknown"]) == (1.25, 2, [])


def test_a_price_that_is_not_known_is_an_alarm_and_never_a_saving(begun):
    spend(begun, teacher=(3, 100, 0, 2.0), student=(3, 100, 100, 0.0))
    assert "net saving unknown: no price for student" in begun.run("status", "triage").out
    assert begun.run("status", "triage", "--json").document["economics"]["net_usd"] is None


def test_explain_says_what_is_left_in_pairs_hours_and_dollars(begun):
    folded(begun, 21, 0.0, every_s=180.0)
    out = begun.run("explain", "triage").out
    assert "hours at the pace so far, dollars unknown for shadow and judge" in out
    assert "forward/all/quality: n 21" in out
    assert ", mean at least -0." in out
    assert "fresh key: 21 different users in this block, 30 needed" in out
    assert "missing: 0 of 21 forward pairs have no score" in out
    spend(begun, shadow=(3, 100, 0, 2.0))
    assert "unknown for shadow" in begun.run("explain", "triage").out  # nothing was scored: no pair has a price
    gate = begun.run("explain", "triage", "--json").document["gates"]
    assert gate["pairs_left"]["low"] > 0.0
    assert gate["hours_left"]["high"] == pytest.approx(gate["pairs_left"]["high"] / 20.0, rel=1e-5)


def test_a_forward_pair_costs_its_shadow_call_and_its_part_of_the_judge():
    def spent(account: str, calls: int, usd: float, unpriced: int = 0) -> Spending:
        return Spending(route="triage", day=1, account=account, calls=calls, unpriced=unpriced, nusd=round(usd * 1e9))

    both = [spent("shadow", 100, 2.0), spent("judge", 10, 0.5), spent("teacher", 100, 9.0)]
    assert pair_usd_of(both, 50) == pytest.approx(0.02 + 0.01)
    assert pair_usd_of(both, 0) is None
    assert pair_usd_of([*both, spent("judge", 1, 0.0, unpriced=1)], 50) is None


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def carved(site: Site, capsys) -> Site:
    """The site with `triage` of which `gold` climbs apart, both in shadow."""
    written = site.config.read_text().replace(
        "dwell: 0}", "dwell: 0, gates: {carve_outs: {slice: slice, weights: {gold: 0.5}}}}"
    )
    site.config.write_text(
        written.replace("    rubric: exact@1", "    rubric: exact@1\n    slices: {routing: [header:x-tutelage-slice]}")
    )
    settings = load(site.config)
    lease = site.store.acquire("control", "test", 10.0, 1e9)
    assert lease is not None
    Publisher(settings, {"exact@1": "digest"}, Sources(new_id=uuid7, new_salt=lambda: "salt")).publish(
        site.store, lease, 2e9
    )
    capsys.readouterr()
    return site


def test_a_part_is_moved_and_explained_by_its_name(carved: Site):
    assert carved.run("split", "triage:gold", "25").code == 0
    assert (standing(carved, "triage:gold").share_bp, standing(carved).share_bp) == (2500, 0)
    assert "MANUAL at 25.00 %" in carved.run("explain", "triage:gold").out
    explained = carved.run("explain", "triage").out
    assert "this is the rest; by themselves: triage:gold: small@v7 MANUAL at 25.00 %" in explained
    assert carved.run("explain", "triage", "--json").document["parts"] == {"triage:gold": 2500}
    assert carved.run("history", "triage:gold", "--json").document["decisions"][0]["event"] == "SetShare"


def test_the_status_of_a_route_shows_its_parts(carved: Site):
    shown = carved.run("status", "triage", "--json").document
    assert (shown["route"], [part["route"] for part in shown["parts"]]) == ("triage", ["triage:gold"])
    assert "parts" not in carved.run("status", "triage:gold", "--json").document
    assert "triage:gold: small@v7 SHADOW" in carved.run("status").out


def test_kill_and_clear_are_of_a_route_with_all_of_its_parts(carved: Site):
    carved.run("split", "triage:gold", "25")
    answered = carved.run("kill", "triage", "--json").document
    assert (answered["route"], answered["parts"][0]["route"]) == ("triage", "triage:gold")
    assert standing(carved, "triage:gold").share_in_force_bp == 0
    carved.run("clear", "triage:gold")
    assert (standing(carved).killed, standing(carved, "triage:gold").share_in_force_bp) == (True, 2500)
    assert carved.run("clear", "triage").code == 0
    assert standing(carved).killed is False


def test_the_kill_file_of_a_route_is_shown_with_its_parts_and_cleared_with_it(carved: Site):
    folder = carved.data_dir / "kill"
    folder.mkdir()
    (folder / "triage").touch()
    assert "KILLED on this host" in carved.run("status", "triage:gold").out
    (folder / "triage:gold").touch()
    assert carved.run("clear", "triage").code == 0
    assert list(folder.iterdir()) == []
