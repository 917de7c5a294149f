import re
from pathlib import Path

import msgspec
import pytest

from gateway.spool_queue import REASONS
from tutelage.contracts import decisions, keys, pairs, records, signals
from tutelage.contracts.records import SCHEMA_VERSION, Feedback, Json, Record, decode_record, encode

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "RECORDS.md").read_text(encoding="utf-8")
STRUCTS = [
    kind
    for module in (records, pairs, decisions, keys, signals)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record and kind.__module__ == module.__name__
]


def section(name):
    return re.split(r"^## ", DOCUMENT.split(f"\n## {name}\n", 1)[1], flags=re.MULTILINE)[0]


def rows(text):
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line[:3] == "| `"
    ]


def shown(kind):
    if kind is Json:
        return "Json"
    name = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    plain = re.sub(r"(?:typing|router\.types|tutelage\.contracts\.\w+)\.", "", name)
    return plain.replace("Any", "Json").replace(" | None", " or null")


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_the_document_has_every_field_in_order_with_its_type(struct):
    documented = [(row[0], row[1]) for row in rows(section(struct.__name__))]
    assert documented == [(field.name, shown(field.type)) for field in msgspec.structs.fields(struct)]
    assert all(len(row) == 3 and row[2].strip("| ") for row in rows(section(struct.__name__)))


def test_the_document_has_no_record_that_does_not_exist():
    named = set(re.findall(r"^## (\w+)$", DOCUMENT, flags=re.MULTILINE))
    assert named == {struct.__name__ for struct in STRUCTS}


def test_the_reasons_of_loss_are_those_that_are_counted():
    assert {row[0] for row in rows(section("What is lost, and counted"))} == set(REASONS)


def test_records_survive_encoding_and_say_their_version():
    record = Feedback(id="f", exchange_id="e", tenant="t", type="score", value=0.5, at=1.0)
    assert decode_record(encode(record)) == record
    assert record.schema == SCHEMA_VERSION


def test_what_is_no_record_is_refused_with_the_field_that_does_not_fit():
    with pytest.raises(msgspec.ValidationError, match="exchange_id"):
        decode_record(b'{"kind":"feedback","id":"f"}')
