"""What counts as lost, and what a JUnit report says. The suites themselves are `make conformance`."""

from pathlib import Path

import pytest

from tests.conformance.__main__ import failed, row_of, row_of_own
from tests.conformance.openai_python import SUITE
from tests.conformance.pytests import results_of

REPORT = """<testsuites><testsuite>
<testcase classname="a.B" name="good"/>
<testcase classname="a.B" name="bad"><failure/></testcase>
<testcase classname="a.B" name="broken"><error/></testcase>
<testcase classname="a.B" name="not run"><skipped/></testcase>
<testcase classname="a.B" name="late"/>
<testcase classname="a.B" name="late"><error/></testcase>
</testsuite></testsuites>"""

BOTH = {"teacher": 1, "student": 1}


def test_lost_is_what_passed_directly_and_not_through():
    direct = {"kept": True, "lost": True, "gone": True, "never": False, "gained": False}
    row = row_of(SUITE, "split", direct, {"kept": True, "lost": False, "never": False, "gained": True}, BOTH)
    assert (row.tests, row.passed_direct, row.passed_through, row.lost) == (5, 3, 1, ("gone", "lost"))
    assert failed([row])


def test_what_tests_nothing_has_failed():
    kept = row_of(SUITE, "split", {"a": True}, {"a": True}, BOTH)
    assert not failed([kept])
    assert failed([])
    assert failed([kept, row_of(SUITE, "split", {"a": False}, {"a": True}, BOTH)])


@pytest.mark.parametrize(
    ("way", "served", "unserved"),
    [
        ("split", {"teacher": 9}, ("student",)),
        ("split", {"teacher": 9, "student": 0}, ("student",)),
        ("split", {}, ("teacher", "student")),
        ("student", {"teacher": 9}, ("student",)),
        ("student", {"student": 9}, ()),
        ("teacher", {"teacher": 9}, ()),
    ],
)
def test_a_way_that_an_arm_did_not_go_has_failed(way: str, served: dict[str, int], unserved: tuple[str, ...]):
    row = row_of(SUITE, way, {"a": True}, {"a": True}, served)
    assert row.unserved == unserved
    assert failed([row]) == bool(unserved)


def test_a_report_is_read_test_by_test(tmp_path: Path):
    (tmp_path / "report.xml").write_text(REPORT)
    assert results_of(tmp_path / "report.xml") == {
        "a.B::good": True,
        "a.B::bad": False,
        "a.B::broken": False,
        "a.B::late": False,
    }


def test_on_the_own_planes_lost_is_what_failed():
    assert not failed([row_of_own("data plane", {"GET /livez": True})])
    row = row_of_own("data plane", {"GET /livez": True, "GET /readyz": False})
    assert (row.passed_direct, row.passed_through, row.lost) == (None, 1, ("GET /readyz",))
    assert failed([row])
