"""The report shows what others wrote; it must not become what they wrote."""

from html.parser import HTMLParser

import msgspec

from router.types import Arm
from scoring.evaluation import Compared, summarise
from tests.tutelage.store.made import attempt, judgement, pair
from tutelage.contracts.pairs import CriterionScore
from tutelage.evaluation.page import page

EVIL = '</pre><script>alert("x")</script><img src=x onerror=alert(1)>\x1b[31m"\'&'
OURS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td",
    "pre", "span", "br", "strong", "details", "summary",
}  # fmt: skip


class Tags(HTMLParser):
    def __init__(self, document):
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def evil():
    said = msgspec.structs.replace(attempt(Arm.STUDENT, EVIL), version=EVIL)
    failed = msgspec.structs.replace(attempt(Arm.TEACHER), error=EVIL, answer=None)
    request = {"messages": [{"role": "system", "content": EVIL}, {"role": "user", "content": EVIL}]}
    score = CriterionScore(criterion=EVIL, weight=1.0, teacher=1.0, student=0.0, d=-1.0)
    return Compared(
        pair=pair("p", 1.0, request=request, student=said, teacher=failed),
        judgement=judgement("p", d=-1.0, rationale=EVIL, failure=EVIL, scores=(score,)),
    )


def test_nothing_that_a_file_a_model_or_a_judge_wrote_becomes_markup():
    found = [evil()]
    document = page(EVIL, summarise(found), found)
    seen = Tags(document)
    assert seen.tags <= OURS
    assert seen.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class"}
    assert "\x1b" not in document
    assert "default-src 'none'" in document


def test_the_worst_for_the_student_comes_first_and_both_answers_are_there():
    made = [
        Compared(pair=pair(f"p{n}", 1.0, request={"messages": [{"role": "user", "content": f"input-{n}"}]}),
                 judgement=judgement(f"p{n}", d=d))
        for n, d in enumerate((0.5, -1.0, 0.0))
    ]  # fmt: skip
    unscored = Compared(pair=pair("p9", 1.0), judgement=None, unjudged="judge_unavailable")
    document = page("route", summarise([*made, unscored]), [*made, unscored])
    assert document.index("input-1") < document.index("input-2") < document.index("input-0")
    assert document.rindex("judge_unavailable") > document.index("input-0")
    assert document.count("an answer") == 8
