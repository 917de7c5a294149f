import getpass

import pytest

from router.events import Advance
from router.types import Direction
from tests.tutelage.cli.conftest import Site
from tests.tutelage.cli.made import folded, standing
from tests.tutelage.store.made import decision, judgement, pair
from tests.tutelage.store.made import rollout as other_rollout
from tutelage.contracts.decisions import CellNumbers
from tutelage.contracts.ids import uuid7
from tutelage.contracts.records import Spending
from tutelage.contracts.signals import Signals, Watch
from tutelage.control.remaining import pair_usd_of
from tutelage.store.apply import Basis, apply, create
from tutelage.store.base import Joined

ESCAPE = "\x1b[31m\x07"


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


def spend(site, route="triage", **fields):
    rows = [
        Spending(route=route, day=day, account=name, calls=calls, unpriced=unpriced, nusd=round(usd * 1e9))
        for name, (day, calls, unpriced, usd) in fields.items()
    ]
    site.store.join(Joined(spent=rows))


def test_what_was_saved_is_shown_with_status_and_explain(begun):
    spend(begun, teacher=(3, 100, 0, 2.0), student=(4, 100, 0, 0.25), judge=(4, 10, 0, 0.5))
    assert "net saving $1.25" in begun.run("status", "triage").out
    assert "avoided $2.00; spent: teacher $2.00, student $0.25, judge $0.50" in begun.run("explain", "triage").out
    money = begun.run("explain", "triage", "--json").document["economics"]
    assert (money["net_usd"], money["days"], money["unknown"]) == (1.25, 2, [])


def test_less_than_a_cent_is_not_nothing_and_what_costs_more_than_it_saves_says_so(begun):
    spend(begun, teacher=(3, 100, 0, 2.0), shadow=(3, 100, 0, 0.0042))
    out = begun.run("explain", "triage").out
    assert "net saving -$0.0042 in 1 day; avoided $0.00; spent: teacher $2.00, shadow $0.0042" in out
    assert "it costs more than it saves at this rate (-$0.0042 a day)" in out


def test_explain_on_the_last_rung_speaks_of_no_next_one(begun):
    for _ in range(3):
        begun.run("promote", "triage")
    assert "to the next rung: there is none, it stands on the last one" in begun.run("explain", "triage").out


def test_a_price_that_is_not_known_is_an_alarm_and_never_a_saving(begun):
    spend(begun, teacher=(3, 100, 0, 2.0), student=(3, 100, 100, 0.0))
    assert "net saving unknown: no price for student" in begun.run("status", "triage").out
    assert begun.run("status", "triage", "--json").document["economics"]["net_usd"] is None


def test_explain_says_what_is_left_in_pairs_hours_and_dollars(begun):
    folded(begun, 21, 0.0, every_s=180.0)
    out = begun.run("explain", "triage").out
    assert "hours at the pace so far, dollars unknown for shadow and judge" in out
    assert "forward pairs for the fresh key, the same pairs for both, " in out
    assert "forward/all/quality: n 21" in out
    assert ", mean at least -0." in out
    assert "fresh key: 21 different users in this block, 30 needed" in out
    assert "missing: 0 of 21 forward pairs have no score" in out
    spend(begun, shadow=(3, 100, 0, 2.0))
    assert "unknown for shadow" in begun.run("explain", "triage").out  # nothing was scored: no pair has a price
    gate = begun.run("explain", "triage", "--json").document["gates"]
    assert gate["pairs_left"]["low"] > 0.0
    assert gate["hours_left"]["high"] == pytest.approx(gate["pairs_left"]["high"] / 20.0, rel=1e-5)


def test_a_pair_costs_the_other_arms_call_and_its_part_of_the_judge():
    def spent(account: str, calls: int, usd: float, unpriced: int = 0) -> Spending:
        return Spending(route="triage", day=1, account=account, calls=calls, unpriced=unpriced, nusd=round(usd * 1e9))

    both = [spent("shadow", 100, 2.0), spent("judge", 10, 0.5), spent("teacher", 100, 9.0), spent("reverse", 10, 0.9)]
    found = pair_usd_of(both, 50)
    assert found == pytest.approx({Direction.FORWARD: 0.03, Direction.REVERSE: 0.10})
    assert pair_usd_of(both[:3], 50)[Direction.REVERSE] is None
    assert set(pair_usd_of(both, 0).values()) == {None}
    assert set(pair_usd_of([*both, spent("judge", 1, 0.0, unpriced=1)], 50).values()) == {None}


def test_what_the_fresh_key_needs_is_left_when_the_evidence_has_passed(begun):
    folded(begun, 400, 0.05, every_s=36.0)
    spend(begun, reverse=(3, 100, 0, 1.0), shadow=(3, 100, 0, 0.5))
    begun.store.join(Joined(pairs=[pair("p1", 1.0)]))
    begun.store.judged([judgement("p1")])
    begun.run("promote", "triage")
    gate = begun.run("explain", "triage", "--json").document["gates"]
    assert gate["pairs_left"] == {"low": 0.0, "middle": 0.0, "high": 0.0}
    lately = gate["fresh_left"]
    assert (lately["direction"], lately["low"] >= 30.0, lately["high"] > lately["low"]) == ("reverse", True, True)
    assert gate["hours_left"]["low"] is None, "no reverse pair has been seen: nobody knows how fast they come"
    assert gate["usd_left"]["high"] == pytest.approx(0.01 * lately["high"], rel=1e-5)
    told = begun.run("explain", "triage").out
    assert "to the next rung: 0 to 0 forward pairs for the evidence, " in told
    assert "reverse pairs for the fresh key, unknown hours" in told


# --- parts ------------------------------------------------------------------------------------------------------------


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


def test_what_a_route_and_its_parts_come_to_together_is_shown_with_the_route(carved: Site):
    assert "triage as a whole: the student has an unknown share" in carved.run("status", "triage").out
    carved.run("split", "triage:gold", "40")
    spend(carved, teacher=(20_000, 900, 0, 9.0), judge=(20_000, 10, 0, 0.5))
    spend(carved, route="triage:gold", teacher=(20_000, 60, 0, 0.6), student=(20_000, 40, 0, 0.1))
    spend(carved, route="triage:gold", reverse=(19_000, 7_000, 0, 1.0))
    said = carved.run("status", "triage").out.splitlines()
    assert said[0].startswith(
        "triage as a whole: the student has 4 % of its traffic; 0 pairs wait, 0 scored; net saving"
    )
    whole = carved.run("status", "triage", "--json").document["whole"]
    assert (whole["share_in_force_bp"], whole["spent_usd"]["teacher"]) == (400, 9.6)
    assert whole["mix"] == {"triage": 0.9, "triage:gold": 0.1}
    parts = [
        carved.run("status", name, "--json").document["economics"]["net_usd"] for name in ("triage", "triage:gold")
    ]
    assert whole["net_usd"] == pytest.approx(sum(parts))
    assert carved.run("explain", "triage", "--json").document["whole"] == whole
    assert carved.run("status", "triage:gold", "--json").document["whole"] is None


def test_what_a_part_does_not_know_the_whole_does_not(carved: Site):
    spend(carved, route="triage:gold", shadow=(20_000, 5, 5, 0.0))
    assert "net saving unknown: no price for shadow" in carved.run("status", "triage").out.splitlines()[0]
