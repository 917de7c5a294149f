"""Checks: deterministic tests of one answer, one file each. `CHECKS` is the table of them.

Add a check: a file with its options and its class, one line in `CHECKS`, one row in docs/RUBRICS.md (a test compares
them). The contract suite then runs on it by itself.
"""

from scoring.checks.base import Check, CheckKind, CheckOptions, kind
from scoring.checks.contains import ContainsCheck, ContainsOptions
from scoring.checks.exact import ExactCheck, ExactOptions
from scoring.checks.json_schema import JsonSchemaCheck, JsonSchemaOptions
from scoring.checks.label import LabelCheck, LabelOptions
from scoring.checks.length import LengthCheck, LengthOptions
from scoring.checks.refusal import RefusalCheck, RefusalOptions
from scoring.checks.regex import RegexCheck, RegexOptions

CHECKS: dict[str, CheckKind] = {
    "label": kind(LabelOptions, LabelCheck),
    "exact": kind(ExactOptions, ExactCheck),
    "contains": kind(ContainsOptions, ContainsCheck),
    "regex": kind(RegexOptions, RegexCheck),
    "length": kind(LengthOptions, LengthCheck),
    "json_schema": kind(JsonSchemaOptions, JsonSchemaCheck),
    "refusal": kind(RefusalOptions, RefusalCheck),
}

__all__ = ["CHECKS", "Check", "CheckKind", "CheckOptions"]
