"""Compiling a rubric refuses what could not be scored; its documentation says what the code does."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.sections.task import LABELS, input_sha256, read_descriptions
from router.types import Arm
from scoring.checks import CHECKS
from scoring.rubrics.answers import same_answer
from scoring.rubrics.labels import load_labels
from scoring.rubrics.load import load_rubric, rubrics_folder
from scoring.rubrics.scorer import compile_rubric
from tests.scoring.pairs import attempt, failed, pair
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.records import Answer

ROOT = Path(__file__).parents[3]
KEY = hashlib.sha256(b"input").hexdigest()


def written(folder: Path, *criteria: dict[str, Any], labels: list[Any] | None = None) -> Path:
    """A rubric `r@1` in `folder`; `labels` are lines, as text or as values."""
    document: dict[str, Any] = {"name": "r", "version": 1, "criteria": list(criteria)}
    if labels is not None:
        lines = [line if isinstance(line, str) else json.dumps(line) for line in labels]
        (folder / "labels.jsonl").write_text("\n".join(lines))
        document["labels"] = "labels.jsonl"
    (folder / "r@1.yaml").write_text(yaml.safe_dump(document))
    return folder


def criterion(kind: str, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "c", "weight": 1, "check": {"kind": kind, "options": options or {}}} | more


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (criterion("labl"), "there is no check 'labl'; there are contains, exact"),
        (criterion("length", {"maximun": 3}), "maximun: Extra inputs"),
        (criterion("length"), "give minimum or maximum"),
        (criterion("length", {"minimum": 3, "maximum": 2}), "maximum 2 is below minimum 3"),
        (criterion("contains"), "give required or forbidden"),
        (criterion("contains", {"required": [" "]}), "a blank text is in every answer"),
        (criterion("regex", {"pattern": r"(a)\1"}), "is not RE2 syntax"),
        (criterion("regex", {"pattern": "(?=x)"}), "is not RE2 syntax"),
        (criterion("regex", {"pattern": "((a{1000}){1000}){1000}"}), "is not RE2 syntax"),
        (criterion("json_schema", {"schema": {"type": "objekt"}}), "not a JSON schema"),
        (criterion("json_schema", {"schema": {"$ref": "http://127.0.0.1/x"}}), "leaves the schema"),
        (criterion("json_schema", {"schema": {"pattern": r"(a)\1"}}), "is not RE2 syntax"),
        (criterion("json_schema", {"schema": {"unevaluatedProperties": False}}), "write additionalProperties"),
        (criterion("json_schema", {"schema": {"$ref": "#name", "$defs": {}}}), "write #/$defs/NAME"),
        (criterion("json_schema", {"schema": {"items": {"$id": "http://a/b"}}}), "$id inside a schema"),
        (criterion("refusal", {"phrases": [""]}), "a blank phrase"),
        (criterion("numeric"), "write reference: label or teacher"),
        (criterion("tool_calls", {"expected": [{"nam": "f"}]}), "each call is"),
        (criterion("language", {"languages": ["xx"]}), "there is no language 'xx'; there are ace, af,"),
        (criterion("label"), "write reference: label or teacher"),
        (criterion("exact"), "write reference: label or teacher"),
    ],
)
def test_a_check_that_could_not_score_is_refused_when_the_rubric_is_read(
    tmp_path: Path, given: dict[str, Any], message: str
):
    with pytest.raises(ConfigurationError, match=re.escape(message)) as refused:
        compile_rubric(written(tmp_path, given), "r@1")
    assert "rubric r@1, criterion 'c'" in str(refused.value)


def test_a_reference_that_the_check_would_not_read_is_refused(tmp_path: Path):
    given = criterion("length", {"minimum": 1}, reference="label")
    with pytest.raises(ConfigurationError, match="reads no reference: write reference: none"):
        compile_rubric(written(tmp_path, given, labels=[{"input_sha256": KEY, "value": "net"}]), "r@1")


def test_a_judge_is_not_asked_for_agreement_with_the_teacher(tmp_path: Path):
    agreement = {"name": "same", "weight": 1, "reference": "teacher", "judge": {"question": "Same?"}}
    with pytest.raises(ConfigurationError, match="use a check"):
        compile_rubric(written(tmp_path, criterion("refusal"), agreement), "r@1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: "),
        ({"input_sha256": "99", "value": "net"}, "line 2: input_sha256 '99' is not 64"),
        ({"sha256": KEY, "value": "net"}, "line 2: "),
        ({"input_sha256": KEY, "value": 3}, "line 2: "),
        ({"input_sha256": KEY, "value": " "}, "line 2: value of"),
        ({"input_sha256": KEY, "value": "mail"}, "has two values, 'net' and 'mail'; keep one"),
    ],
)
def test_every_line_of_a_reference_file_is_checked(tmp_path: Path, line: Any, message: str):
    folder = written(
        tmp_path, criterion("label", reference="label"), labels=[{"input_sha256": KEY, "value": "net"}, line]
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        compile_rubric(folder, "r@1")


def test_an_empty_or_missing_reference_file_is_refused(tmp_path: Path):
    folder = written(tmp_path, criterion("label", reference="label"), labels=[])
    with pytest.raises(ConfigurationError, match="is empty"):
        compile_rubric(folder, "r@1")
    (folder / "labels.jsonl").unlink()
    with pytest.raises(ConfigurationError, match="cannot read reference file"):
        compile_rubric(folder, "r@1")


def test_repeated_lines_that_agree_are_one_answer(tmp_path: Path):
    line = {"input_sha256": KEY, "value": "net"}
    folder = written(tmp_path, criterion("label", reference="label"), labels=[line, "", line])
    assert load_labels(folder / "labels.jsonl") == {KEY: "net"}


def test_a_correction_goes_over_the_label_and_brings_nobody_into_the_population(tmp_path: Path):
    found = []
    for known in (pair(0).input_hash, pair(1).input_hash):
        labels = [{"input_sha256": known, "value": "net"}]
        scorer = compile_rubric(written(tmp_path, criterion("label", reference="label"), labels=labels), "r@1")
        corrected = scorer.finish(scorer.draft(pair(0, teacher="net", student="mail"), correction="mail"), 1.0)
        found.append((corrected.d, corrected.failure))
    assert found == [(1.0, None), (None, "no_reference")]


def test_agreement_with_the_teacher_is_scored_and_never_enters_d(tmp_path: Path):
    agreement = criterion("label", name="agrees", reference="teacher")
    scorer = compile_rubric(written(tmp_path, criterion("refusal"), agreement), "r@1")
    judgement = scorer.finish(scorer.draft(pair(0, student="mail")), 1.0)
    assert judgement.d == 0.0
    assert [(s.criterion, s.teacher, s.student) for s in judgement.scores] == [("c", 1.0, 1.0), ("agrees", 1.0, 0.0)]


def test_weights_add_up_over_criteria(tmp_path: Path):
    given = [
        criterion("length", {"maximum": 3}, name="short", weight=0.3),
        criterion("contains", {"required": ["mail"]}, name="mail", weight=0.7),
    ]
    scorer = compile_rubric(written(tmp_path, *given), "r@1")
    assert scorer.finish(scorer.draft(pair(0, student="mail")), 1.0).d == pytest.approx(0.7 - 0.3)
    assert scorer.finish(scorer.draft(pair(0, student=failed(Arm.STUDENT))), 1.0).d == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (Answer(text="a"), Answer(text=" a\n", finish_reason="stop"), True),
        (Answer(text="a"), Answer(text="A"), False),
        (Answer(text=None), Answer(text=""), True),
        (Answer(text=""), Answer(text="", refusal="no"), False),
        (
            Answer(tool_calls=({"id": "call_1", "function": {"name": "f", "arguments": '{"a": 1, "b": 2}'}},)),
            Answer(tool_calls=({"id": "call_2", "function": {"name": "f", "arguments": '{"b":2,"a":1}'}},)),
            True,
        ),
        (
            Answer(tool_calls=({"id": "call_1", "function": {"name": "f", "arguments": "{"}},)),
            Answer(tool_calls=({"id": "call_1", "function": {"name": "f", "arguments": "{}"}},)),
            False,
        ),
    ],
)
def test_answers_are_the_same_when_they_say_the_same(left: Answer, right: Answer, same: bool):
    assert same_answer(left, right) is same


def test_rubrics_lie_beside_the_configuration_or_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "site" / "tutelage.yaml"
    assert rubrics_folder(config, "rubrics") == Path("rubrics")
    (tmp_path / "site" / "rubrics").mkdir(parents=True)
    assert rubrics_folder(config, "rubrics") == tmp_path / "site" / "rubrics"
    assert rubrics_folder(config, "/elsewhere") == Path("/elsewhere")


def test_the_examples_rubric_knows_the_held_out_inputs():
    scorer = compile_rubric(ROOT / "examples/sections/rubrics", "sections@1")
    assert scorer.labels == load_labels(LABELS)
    held_out = [description.text for description in read_descriptions("heldout")]
    assert all(input_sha256(text) in scorer.labels for text in held_out)


# --- the documentation ------------------------------------------------------------------------------------------------

DOCUMENT = (ROOT / "docs/RUBRICS.md").read_text()


def test_the_table_of_checks_is_the_table_of_the_code():
    section = DOCUMENT.partition("## Checks")[2].partition("\n## ")[0]
    documented: dict[str, list[str]] = {}
    kind = ""
    for first, option in re.findall(r"^\| (?:`(\w+)` )?\| (?:`(\w+)` )?\|", section, re.MULTILINE):
        kind = first or kind
        documented.setdefault(kind, []).extend([option] if option else [])
    in_code = {
        name: [field.alias or given for given, field in check.options.model_fields.items()]
        for name, check in CHECKS.items()
    }
    assert documented == in_code


def test_documented_defaults_are_the_codes():
    section = DOCUMENT.partition("## Checks")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \| `(\w+)` \| (`?)([\w]+)`? \|", section, re.MULTILINE)
    shown = {name: text for name, _, text in rows if text not in ("a", "none", "the", "punctuation")}
    fields = [(f.alias or n, f) for check in CHECKS.values() for n, f in check.options.model_fields.items()]
    defaults = {
        n: {"required" if f.is_required() else str(f.default).lower() for m, f in fields if m == n} for n, _ in fields
    }
    assert len(shown) >= 10
    assert all(text in defaults[name] for name, text in shown.items())


def test_the_documented_example_is_a_rubric(tmp_path: Path):
    example = re.search(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert example
    (tmp_path / "rubrics").mkdir()
    (tmp_path / "references").mkdir()
    (tmp_path / "references/triage.jsonl").write_text(json.dumps({"input_sha256": KEY, "value": "billing"}))
    (tmp_path / "rubrics/support-triage@3.yaml").write_text(example[1])
    assert compile_rubric(tmp_path / "rubrics", "support-triage@3").rubric.needs_judge


def test_a_file_that_says_it_is_another_rubric_is_refused(tmp_path: Path):
    written(tmp_path, criterion("refusal"))
    (tmp_path / "r@1.yaml").rename(tmp_path / "r@2.yaml")
    with pytest.raises(ConfigurationError, match=r"says it is 'r@1'; name the file r@1\.yaml"):
        load_rubric(tmp_path, "r@2")


def test_agreement_has_a_number_of_its_own_and_each_arm_its_own_score(tmp_path: Path):
    given = [
        criterion("length", {"maximum": 3}, name="short", weight=0.25),
        criterion("contains", {"required": ["e"]}, name="e", weight=0.75),
        criterion("label", name="agrees", weight=0.5, reference="teacher"),
        criterion("exact", name="exactly", weight=0.5, reference="teacher"),
    ]
    scorer = compile_rubric(written(tmp_path, *given), "r@1")
    judgement = scorer.finish(scorer.draft(pair(0, teacher="net", student="Net!")), 1.0)
    assert judgement.disagreement == -0.5
    assert (judgement.teacher_score, judgement.student_score, judgement.d) == (1.0, 0.75, -0.25)


def test_a_teachers_answer_that_was_lost_never_counts_for_the_student(tmp_path: Path):
    scorer = compile_rubric(written(tmp_path, criterion("length", {"maximum": 5})), "r@1")
    lost = attempt(Arm.TEACHER, answer=None, error=None)
    for teacher in (lost, None):
        judgement = scorer.finish(scorer.draft(pair(0, teacher=teacher, student="net")), 1.0)
        assert (judgement.failure, judgement.d, judgement.teacher_score) == ("teacher_failed", 0.0, 1.0)


def test_a_refusal_where_the_teacher_answered_is_a_failure_of_the_student(tmp_path: Path):
    scorer = compile_rubric(written(tmp_path, criterion("length", {"maximum": 100})), "r@1")
    no = attempt(Arm.STUDENT, answer=Answer(text="net", refusal="no"))
    refused = scorer.finish(scorer.draft(pair(0, student=no)), 1.0)
    assert (refused.failure, refused.d, refused.student_score) == ("student_failed", -1.0, 0.0)
    both = attempt(Arm.TEACHER, answer=Answer(text="net", refusal="never"))
    assert scorer.finish(scorer.draft(pair(0, teacher=both, student=no)), 1.0).failure is None


def asked(**spec: Any) -> dict[str, Any]:
    return {"name": "c", "weight": 1, "judge": {"question": "Good?"} | spec}


def document(*criteria: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "r", "version": 1, "criteria": list(criteria)} | more


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (document(asked(scale=4, anchors={5: "beyond"})), "anchor 5 is not on the scale 0..4"),
        (document(asked(scale=3), judging="pairwise"), "criterion 'c' has a scale or anchors"),
        (document(criterion("refusal"), judging="pairwise"), "no criterion has a judge"),
        (document(criterion("refusal"), anchor_set="a.jsonl"), "no criterion has one"),
        (document(asked(), judging="listwise"), "judging: Input should be"),
        (document(asked(), risk={"customer": {"gold": 0}}), "greater than 0"),
        (document(asked(), colour="red"), "colour: Extra inputs"),
        (document(asked() | {"weight": float("nan")}), "weight"),
        (document(asked() | {"weight": 0.5}), "sum to 0.5; they must sum to 1"),
    ],
)
def test_a_rubric_that_says_what_cannot_be_is_refused(tmp_path: Path, given: dict[str, Any], message: str):
    (tmp_path / "r@1.yaml").write_text(yaml.safe_dump(given))
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load_rubric(tmp_path, "r@1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: r\nname: r\n", "stands twice"),
        ("name: !!python/object/apply:os.system [echo]\n", "not plain YAML"),
        ("[" * 10_000, "not plain YAML"),
        ("a: &a [*a]\n", "Field required"),
        ("\x00", "not plain YAML"),
    ],
    ids=["a key twice", "a tag", "too deep", "a loop", "NUL"],
)
def test_a_rubric_is_plain_yaml(tmp_path: Path, text: str, message: str):
    (tmp_path / "r@1.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_rubric(tmp_path, "r@1")


def test_templates_in_a_rubric_are_text(tmp_path: Path):
    (tmp_path / "r@1.yaml").write_text(yaml.safe_dump(document(asked(question="{{7*7}} ${HOME} {0}?"))))
    (only,) = load_rubric(tmp_path, "r@1").criteria
    assert only.judge is not None
    assert only.judge.question == "{{7*7}} ${HOME} {0}?"


@pytest.mark.parametrize(
    ("slices", "milli"),
    [
        ({}, 125),
        ({"customer": "gold"}, 500),
        ({"customer": "gold", "country": "fr"}, 1000),
        ({"customer": "unheard of", "country": "fr"}, 250),
        ({"customer": "free"}, 12),
    ],
)
def test_a_pair_weighs_what_its_slices_risk(tmp_path: Path, slices: dict[str, str], milli: int):
    risk = {"customer": {"gold": 4, "free": 0.1}, "country": {"fr": 2}}
    (tmp_path / "r@1.yaml").write_text(yaml.safe_dump(document(criterion("refusal"), risk=risk)))
    scorer = compile_rubric(tmp_path, "r@1")
    assert scorer.finish(scorer.draft(pair(0, slices=slices)), 1.0).risk_milli == milli


def test_without_risks_every_pair_weighs_the_same(tmp_path: Path):
    scorer = compile_rubric(written(tmp_path, criterion("refusal")), "r@1")
    assert scorer.finish(scorer.draft(pair(0, slices={"customer": "gold"})), 1.0).risk_milli == 1000


@pytest.mark.parametrize(("kind", "message"), [("numeric", "'net' is no number"), ("tool_calls", "no JSON list")])
def test_a_right_answer_that_the_check_cannot_read_is_refused(tmp_path: Path, kind: str, message: str):
    folder = written(tmp_path, criterion(kind, reference="label"), labels=[{"input_sha256": KEY, "value": "net"}])
    with pytest.raises(ConfigurationError, match=f"right answer of input {KEY[:12]}….*{message}"):
        compile_rubric(folder, "r@1")


@pytest.mark.parametrize(("correction", "d"), [("6", -1.0), ("about six", 0.0), (None, 0.0)])
def test_a_correction_that_the_check_cannot_read_leaves_the_label(tmp_path: Path, correction: str | None, d: float):
    key = pair(0).input_hash
    folder = written(tmp_path, criterion("numeric", reference="label"), labels=[{"input_sha256": key, "value": "5"}])
    scorer = compile_rubric(folder, "r@1")
    draft = scorer.draft(pair(0, teacher="6", student="7"), correction)
    assert scorer.finish(draft, 1.0).d == d


JUDGED = {"name": "j", "weight": 1, "judge": {"question": "Is it good?", "scale": 4}}
ASKED = {"messages": [], "response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("rubric", "answer", "request_body", "worth"),
    [
        (criterion("length", {"maximum": 3}), "abc", {}, 1.0),
        (criterion("length", {"maximum": 3}), "abcd", {}, 0.0),
        (criterion("exact", reference="label"), "right", {}, 1.0),
        (criterion("exact", reference="label"), "wrong", {}, 0.0),
        (JUDGED, "anything", {}, 1.0),
        (JUDGED, "I'm sorry, but I can't help with that.", {}, 0.0),
        (JUDGED, "{}", ASKED, 1.0),
        (JUDGED, "no json", ASKED, 0.0),
    ],
)
def test_one_answer_alone_is_worth_what_needs_no_judge(
    tmp_path: Path, rubric: dict[str, Any], answer: str, request_body: dict[str, Any], worth: float
):
    folder = written(tmp_path, rubric, labels=[{"input_sha256": KEY, "value": "right"}])
    made = attempt(Arm.STUDENT, answer=Answer(text=answer))
    assert compile_rubric(folder, "r@1").alone(made, request_body, KEY) == worth


def test_an_arm_that_failed_is_worth_nothing_and_neither_is_one_whose_answer_could_not_be_read(tmp_path: Path):
    scorer = compile_rubric(written(tmp_path, JUDGED), "r@1")
    assert scorer.alone(failed(Arm.STUDENT), {}, None) == 0.0
    assert scorer.alone(attempt(Arm.STUDENT, answer=None), {}, None) == 0.0
