import getpass
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import typer

from router.rollout import OPERATOR, Phase
from tests.tutelage.cli.conftest import Site
from tests.tutelage.cli.made import folded, standing
from tutelage.cli.verbs import share_of
from tutelage.store import database


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


# --- parts ------------------------------------------------------------------------------------------------------------


def test_kill_and_clear_are_of_a_route_with_all_of_its_parts(carved: Site):
    carved.run("split", "triage:gold", "25")
    answered = carved.run("kill", "triage", "--json").document
    assert (answered["route"], answered["parts"][0]["route"]) == ("triage", "triage:gold")
    assert standing(carved, "triage:gold").share_in_force_bp == 0
    carved.run("clear", "triage:gold")
    assert (standing(carved).killed, standing(carved, "triage:gold").share_in_force_bp) == (True, 2500)
    assert carved.run("clear", "triage").code == 0
    assert standing(carved).killed is False


def test_what_stops_a_route_stops_its_parts_and_what_raises_it_does_not_raise_them(carved: Site):
    for name in ("triage", "triage:gold"):
        carved.run("split", name, "10")
    assert carved.run("rollback", "triage").code == 0
    assert [standing(carved, name).phase for name in ("triage", "triage:gold")] == [Phase.ROLLED_BACK] * 2
    assert carved.run("resume", "triage").code == 0
    assert [standing(carved, name).attempt for name in ("triage", "triage:gold")] == [2, 2]
    assert len({standing(carved, name).salt for name in ("triage", "triage:gold")}) == 2
    raised = carved.run("promote", "triage")
    assert "triage:gold: small@v7 SHADOW" in raised.out
    assert raised.out.count("not moved: it is moved by its own name") == 1
    assert [standing(carved, name).share_bp for name in ("triage", "triage:gold")] == [100, 0]


def test_a_rollback_of_a_route_reaches_the_parts_that_still_serve_when_the_rest_no_longer_does(carved: Site):
    carved.run("rollback", "triage")
    carved.run("resume", "triage:gold")
    carved.run("split", "triage:gold", "10")
    answered = carved.run("rollback", "triage", "--json")
    assert answered.code == 0
    assert answered.document["unmoved"].startswith("Rollback does not apply to route 'triage'")
    part = answered.document["parts"][0]
    assert (part["phase"], part["share_bp"], "unmoved" in part) == ("ROLLED_BACK", 0, False)
    assert carved.run("rollback", "triage").code == 1, "nothing is left to roll back"


def test_resume_takes_a_pause_back_everywhere_and_a_rollback_only_with_the_rests_own(carved: Site):
    carved.run("pause", "triage")
    assert all(OPERATOR in standing(carved, name).holds for name in ("triage", "triage:gold"))
    carved.run("rollback", "triage:gold")
    answered = carved.run("resume", "triage", "--json").document
    assert (answered["phase"], answered["parts"][0]["phase"]) == ("SHADOW", "ROLLED_BACK")
    assert answered["parts"][0]["unmoved"] == "it is moved by its own name"


def test_a_pause_that_stands_on_a_part_alone_goes_with_the_rests_attempt(carved: Site):
    carved.run("pause", "triage:gold")
    carved.run("rollback", "triage")
    carved.run("resume", "triage:gold")
    carved.run("pause", "triage:gold")
    assert carved.run("resume", "triage").code == 0
    assert [standing(carved, name).phase for name in ("triage", "triage:gold")] == [Phase.SHADOW, Phase.SHADOW]


def test_a_stale_revision_of_a_route_moves_none_of_its_parts(carved: Site):
    revisions = [standing(carved, name).revision for name in ("triage", "triage:gold")]
    assert carved.run("pause", "triage", "--revision", "1").code == 3
    assert [standing(carved, name).revision for name in ("triage", "triage:gold")] == revisions


def test_the_kill_file_of_a_route_is_shown_with_its_parts_and_cleared_with_it(carved: Site):
    folder = carved.data_dir / "kill"
    folder.mkdir()
    (folder / "triage").touch()
    assert "KILLED on this host" in carved.run("status", "triage:gold").out
    (folder / "triage:gold").touch()
    assert carved.run("clear", "triage").code == 0
    assert list(folder.iterdir()) == []
