"""Judges: a model's opinion of both answers of a pair. `JUDGES` is the table of the forms in which it is asked.

    asking     orders, the second question, the fallback judge, the cost
    client     one call through the gateway's data plane
    prompt     fences, cuts, the prompt's hash      reply   strict reading
    pointwise  pairwise                             what is asked, and how the reply is read

Add a form: a file with a class that keeps to `base.Form`, one line here, its name in the schema of rubrics (`judging`).
"""

from scoring.judges.asking import Asker, Observe
from scoring.judges.base import Form, Identity, Judge, JudgeSettled, JudgeUnavailable
from scoring.judges.client import GatewayClient
from scoring.judges.pairwise import Pairwise
from scoring.judges.pointwise import Pointwise

JUDGES: dict[str, Form] = {"pointwise": Pointwise(), "pairwise": Pairwise()}

__all__ = [
    "JUDGES",
    "Asker",
    "Form",
    "GatewayClient",
    "Identity",
    "Judge",
    "JudgeSettled",
    "JudgeUnavailable",
    "Observe",
]
