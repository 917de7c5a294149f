import pytest

from tutelage.contracts.redaction import CLASSES, kinds_of, version_of
from tutelage.contracts.routes import CaptureSettings


def test_the_classes_are_those_that_a_route_can_name():
    assert CaptureSettings.model_validate({"redact": tuple(CLASSES)}).redact == tuple(CLASSES)


def test_kinds_come_in_the_order_in_which_they_are_looked_for():
    assert kinds_of(["contact", "secrets"]) == CLASSES["secrets"] + CLASSES["contact"]
    assert kinds_of([]) == ()


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="'faces'"):
        kinds_of({"secrets", "faces"})


def test_a_row_says_what_was_taken_out():
    assert version_of({"contact", "secrets"}) == "1:contact+secrets"
    assert version_of(set()) is None
