"""The field policy: which fields of a request an upstream gets as they are, and what becomes of the others. Pure.

    pass        as the client spelled it: every field that no table names
    drop        left out: the answer means the same without it
    translate   said in the upstream's own words
    reject      the answer would not be what was asked for: refused by name, so that nobody takes it for one

A table per kind of upstream, over which `upstreams.NAME.fields` goes. An app that speaks to its student with vLLM's own fields is
thus served by a provider too, which would answer 400 to them. A field that asks for nothing (null, false, empty) is never
rejected. Must not know arms, routes or sockets. To add a rule: a line in `TABLES`; a translation: a function, and its line in
`TRANSLATIONS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from gateway.upstreams.base import CallRefused
from gateway.wire import Fields, given, value_of
from tutelage.contracts.upstreams import UpstreamSettings


class Rule(StrEnum):
    """What becomes of a field."""

    PASS = "pass"  # noqa: S105 the word of the table
    DROP = "drop"
    TRANSLATE = "translate"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPolicy:
    """One upstream's rules; fields without one pass."""

    upstream: str
    rules: Mapping[str, Rule]

    def concerns(self, fields: Fields) -> bool:
        """Whether any of `fields` does not simply pass."""
        return bool(self.rules) and not self.rules.keys().isdisjoint(fields)

    def apply(self, fields: Fields) -> tuple[tuple[str, Rule], ...]:
        """Edit `fields`; what was done, in the order of the request. Raises CallRefused naming the field and the fix."""
        done = [(name, self._rule(name, fields)) for name in tuple(fields) if name in self.rules]
        for name, rule in done:
            if rule is Rule.REJECT or (rule is Rule.TRANSLATE and not TRANSLATIONS[name](fields, fields[name])):
                raise CallRefused(
                    self.upstream,
                    f"the field {name!r} cannot be honoured by the model's server: leave it out "
                    f"(or set fields.{name} of that upstream to pass or drop)",
                )
            del fields[name]
        return tuple(done)

    def _rule(self, name: str, fields: Fields) -> Rule:
        return self.rules[name] if given(fields, name) else Rule.DROP


def policy_of(name: str, settings: UpstreamSettings) -> FieldPolicy:
    """The rules of an upstream: its kind's, and what its settings say instead."""
    rules = TABLES[settings.kind] | {field: Rule(rule) for field, rule in settings.fields.items()}
    return FieldPolicy(upstream=name, rules={field: rule for field, rule in rules.items() if rule is not Rule.PASS})


# --- translations: edit `fields`, and say whether that could be done --------------------------------------------------


def _as_max_completion_tokens(fields: Fields, value: msgspec.Raw) -> bool:
    """The older name; models that reason know the newer one only."""
    fields.setdefault("max_completion_tokens", value)
    return True


def _guided_json(fields: Fields, schema: msgspec.Raw) -> bool:
    """vLLM's field for a JSON schema, which may be given as text."""
    text = value_of(schema)
    spelled = text.encode("utf-8", "replace") if isinstance(text, str) else bytes(schema)
    try:
        msgspec.json.decode(spelled, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    response_format = b'{"type":"json_schema","json_schema":{"name":"answer","schema":' + spelled + b"}}"
    fields.setdefault("response_format", msgspec.Raw(response_format))
    return True


def _structured_outputs(fields: Fields, value: msgspec.Raw) -> bool:
    """A schema and "any JSON" have a counterpart; a choice, an expression or a grammar has none."""
    try:
        wanted = msgspec.json.decode(value, type=Fields)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    if given(wanted, "json"):
        return _guided_json(fields, wanted["json"])
    if given(wanted, "json_object"):
        fields.setdefault("response_format", msgspec.Raw(b'{"type":"json_object"}'))
        return True
    return False


TRANSLATIONS: Mapping[str, Callable[[Fields, msgspec.Raw], bool]] = {
    "guided_json": _guided_json,
    "max_tokens": _as_max_completion_tokens,
    "structured_outputs": _structured_outputs,
}

# --- the tables -------------------------------------------------------------------------------------------------------

_ENGINE = (
    "add_generation_prompt", "add_special_tokens", "cache_salt", "chat_template", "chat_template_kwargs",
    "guided_decoding_backend", "guided_whitespace_pattern", "ignore_eos", "include_reasoning", "include_stop_str_in_output",
    "kv_transfer_params", "length_penalty", "min_p", "min_tokens", "mm_processor_kwargs", "priority", "prompt_logprobs",
    "repetition_penalty", "request_id", "return_token_ids", "return_tokens_as_token_ids", "skip_special_tokens",
    "spaces_between_special_tokens", "stop_token_ids", "thinking_token_budget", "top_k", "truncate_prompt_tokens",
    "use_beam_search", "vllm_xargs",
)  # fmt: skip
"""vLLM's own, without which the answer means the same."""
_MEANING = (
    "allowed_token_ids", "bad_words", "continue_final_message", "documents", "guided_choice", "guided_decoding",
    "guided_grammar", "guided_regex",
)  # fmt: skip
"""vLLM's own, without which it does not."""
_CONSOLE = ("metadata", "prompt_cache_key", "safety_identifier", "store")
"""What only OpenAI's console and caches see."""

_NOT_VLLM: Mapping[str, Rule] = {
    **dict.fromkeys(_ENGINE, Rule.DROP),
    **dict.fromkeys(_MEANING, Rule.REJECT),
    "guided_json": Rule.TRANSLATE,
    "structured_outputs": Rule.TRANSLATE,
}
TABLES: Mapping[str, dict[str, Rule]] = {
    "openai": dict(_NOT_VLLM),
    "vllm": {},
    "litellm": {**_NOT_VLLM, **dict.fromkeys(_CONSOLE, Rule.DROP)},
}
"""By kind. A field that litellm would be steered by is refused by its own upstream's allow-list, whatever stands here."""
