"""Checks: deterministic tests of one answer, one file each. `CHECKS` is the table of them.

Add a check: a file with its options and its class, one line in `CHECKS`, one row in docs/RUBRICS.md (a test compares
them). The contract suite then runs on it by itself.
"""

from scoring.checks.base import Check, CheckKind, CheckOptions, kind
from scoring.checks.contains import ContainsCheck, ContainsOptions
from scoring.checks.exact import ExactCheck, ExactOptions
from scoring.checks.json_schema import JsonSchemaCheck, JsonSchemaOptions
from scoring.checks.label import LabelCheck, LabelOptions
from scoring.checks.language import LanguageCheck, LanguageOptions
from scoring.checks.length import LengthCheck, LengthOptions
from scoring.checks.numeric import NumericCheck, NumericOptions, no_number
from scoring.checks.refusal import RefusalCheck, RefusalOptions
from scoring.checks.regex import RegexCheck, RegexOptions
from scoring.checks.similarity import SimilarityCheck, SimilarityOptions
from scoring.checks.tool_calls import ToolCallsCheck, ToolCallsOptions, calls_of, no_calls

CHECKS: dict[str, CheckKind] = {
    "label": kind(LabelOptions, LabelCheck),
    "exact": kind(ExactOptions, ExactCheck),
    "contains": kind(ContainsOptions, ContainsCheck),
    "regex": kind(RegexOptions, RegexCheck),
    "length": kind(LengthOptions, LengthCheck),
    "json_schema": kind(JsonSchemaOptions, JsonSchemaCheck),
    "tool_calls": kind(ToolCallsOptions, ToolCallsCheck, of_teacher=calls_of, fault=no_calls),
    "numeric": kind(NumericOptions, NumericCheck, fault=no_number),
    "language": kind(LanguageOptions, LanguageCheck),
    "similarity": kind(SimilarityOptions, SimilarityCheck),
    "refusal": kind(RefusalOptions, RefusalCheck),
}

__all__ = ["CHECKS", "Check", "CheckKind", "CheckOptions"]
