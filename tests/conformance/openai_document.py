"""schemathesis by OpenAI's own document, against Steady: every operation of the whole API, the gateway's own endpoints and what
is passed through.

Only good requests: what is wrong with others Steady repeats in its header lines, control characters included, and the gateway
hands on no such answer. Nothing fails by itself: what is found of an operation directly (Steady cannot make every answer) may be
found through the gateway too, and no more.
"""

from collections.abc import Mapping

from tests.conformance.schemathesis import VERSION, checked
from tests.conformance.steady import document, steady
from tests.conformance.suite import Run, Suite

KEY = "sk-schemathesis-conformance"
CHECKS = ("not_a_server_error", "content_type_conformance", "response_schema_conformance")
PHASES = ("examples", "fuzzing")
EXAMPLES = 3


def run(run: Run) -> Mapping[str, bool]:
    return checked(run, document(), KEY, mode="positive", checks=CHECKS, phases=PHASES, examples=EXAMPLES)


SUITE = Suite(
    name="schemathesis-openai",
    version=VERSION,
    answered_by="Steady",
    keys=(KEY,),
    upstream=steady,
    run=run,
)
