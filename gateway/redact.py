"""Redaction: secrets and contacts out of text, in the spool's thread, before anything is durable.

Each value found becomes a placeholder such as `<email:3f9a1c>`: keyed, and the same for the same value wherever it stands
(prompt, both answers, other rows), so that checks and training still work. Which kinds are looked for is
`tutelage.contracts.redaction`; how each is recognised is here: a pattern (google-re2, linear in the text), what of it is
the value, and a test where digits alone prove nothing (Luhn for cards, mod 97 for IBANs).

Fails closed: whatever goes wrong is `RedactionFailed`, and the caller drops the content. Must not know of records or policies.
To find another kind: one line in `KINDS`, its name in the policy.
"""

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any

import msgspec
import re2

from tutelage.contracts.pseudonyms import Pseudonyms
from tutelage.contracts.records import Json
from tutelage.contracts.redaction import CLASSES, RedactionFailed, kinds_of

TOKEN_HEX = 6
_DIGITS = re.compile(r"\D+")
_ESCAPED_ASCII = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_ESCAPED_SPACE = re.compile(r"\\[nrtbf]")
_SPACE_BYTES = re.compile(rb"\\[nrtbf]")
_DATA_URL = re.compile(r"data:[a-z]+/[A-Za-z0-9.+-]+;base64,[A-Za-z0-9+/=\s]*")


# --- what is recognised -----------------------------------------------------------------------------------------------


def _compact(value: str) -> str:
    return "".join(value.split()).upper()


def _digits(value: str) -> str:
    return _DIGITS.sub("", value)


def _same(value: str) -> str:
    return value


def luhn(text: str) -> bool:
    """Whether 13 to 19 digits end in the check digit of payment cards (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in _digits(text)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def iban(text: str) -> bool:
    """Whether the text is an IBAN by its length and check digits (ISO 13616: mod 97 is 1)."""
    value = _compact(text)
    if _IBAN_CHARS.get(value[:2]) != len(value) or not (value.isascii() and value.isalnum()):
        return False
    return int("".join(str(int(char, 36)) for char in value[4:] + value[:4])) % 97 == 1


def _phone(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15


def _jwt(text: str) -> bool:
    head = text.split(".", 1)[0]
    try:
        return base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).lstrip().startswith(b"{")
    except (binascii.Error, ValueError):
        return False


_IBAN_CHARS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18,
    "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31,
    "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
    "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


def _iban_spans(text: str) -> Iterable[tuple[int, int]]:
    """An IBAN ends where its country says, not where capitals end: find its beginning, count off its characters."""
    for match in _IBAN_HEAD.finditer(text):
        wanted, end = _IBAN_CHARS.get(match[0][:2], 0), match.start()
        while wanted and end < len(text):
            wanted -= text[end] not in " \u00a0-"
            end += 1
        if wanted == 0 and iban(text[match.start() : end].replace("-", "")):
            yield match.start(), end


_IBAN_HEAD = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}[ \u00a0-]?[A-Z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of text. `pattern`'s group 1, where it has one, is the value; `proves` tells a value from its look-alikes;
    `canonical` is the form in which two spellings are the same value. `opening`, where it has one, stands at the beginning of
    every value and nowhere else: to see that there is one, no more need be read."""

    pattern: str
    opening: str | None = None
    proves: Callable[[str], bool] | None = None
    canonical: Callable[[str], str] = _same
    spans: Callable[[str], Iterable[tuple[int, int]]] | None = None


_PRIVATE_KEY = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"

KINDS: dict[str, Kind] = {
    "private_key": Kind(
        pattern=_PRIVATE_KEY + r"(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
        opening=_PRIVATE_KEY,
    ),
    "jwt": Kind(pattern=r"\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*)", proves=_jwt),
    "aws_key": Kind(
        pattern=r"\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}\b"
        r"|(?i:aws.{0,20}secret.{0,20}?[\s\"'=:]+)([A-Za-z0-9/+=]{40})(?:[^A-Za-z0-9/+=]|\z)"
    ),
    "github_token": Kind(pattern=r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    "api_key": Kind(
        pattern=r"\b(?:sk-[A-Za-z0-9_-]{16,}|tut-[A-Za-z0-9_-]{20,}|[prs]k_(?:live|test)_[A-Za-z0-9]{10,}|AIza[A-Za-z0-9_-]{35}"
        r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|hf_[A-Za-z0-9]{30,}|glpat-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36})"
    ),
    "bearer": Kind(pattern=r"(?i:\bbearer[\s:]+)([A-Za-z0-9._~+/-]{15,}[A-Za-z0-9_~+/-]=*)"),
    "email": Kind(
        pattern=r"[\pL\pN][\pL\pN._%+'-]*@[\pL\pN](?:[\pL\pN-]*[\pL\pN])?(?:\.[\pL\pN](?:[\pL\pN-]*[\pL\pN])?)*\.\pL{2,}",
        canonical=str.lower,
    ),
    "iban": Kind(pattern=r"\b[A-Z]{2}[0-9]{2}[ \x{a0}-]?[A-Z0-9]", canonical=_compact, spans=_iban_spans),
    "card": Kind(pattern=r"\b[0-9](?:[ -]?[0-9]){12,18}\b", proves=luhn, canonical=_digits),
    "phone": Kind(
        pattern=r"(?:\+|\b00)[1-9][0-9]{0,3}(?:[ ./()-]{0,2}[0-9]){6,13}\b"  # international
        r"|\(?\b[2-9][0-9]{2}\)?[ .-]{1,2}[0-9]{3}[ .-][0-9]{4}\b"  # North American
        r"|\(?\b0[1-9][0-9]{1,4}\)?[ /.-]{1,2}[0-9]{2,}(?:[ /.-]?[0-9]{2,}){1,4}\b",  # national, with its leading 0
        proves=_phone,
        canonical=_digits,
    ),
}


# --- taking it out ----------------------------------------------------------------------------------------------------


_ALL = frozenset(CLASSES)
_kinds = lru_cache(maxsize=16)(kinds_of)


@cache
def _compiled(kind: str) -> Any:
    return re2.compile(KINDS[kind].pattern)


@lru_cache(maxsize=16)
def _any_of(kinds: tuple[str, ...]) -> Any:
    """One pass over a whole JSON document tells whether there is anything to do: mostly there is not."""
    options = re2.Options()
    options.never_capture = True
    rules = (KINDS[kind] for kind in kinds)
    return re2.compile("|".join(f"(?:{rule.opening or rule.pattern})" for rule in rules), options)


def suspects(documents: Sequence[bytes]) -> frozenset[int]:
    """The places of those JSON texts in which there may be something to take out, of whatever class. Raises RedactionFailed.

    The bytes are looked at as they came, all in one scan: for mostly nothing at all a call for each of them, and a wait for
    the interpreter behind every call, would cost more than all the rest of a record.
    """
    doubtful: set[int] = set()
    plain: list[bytes] = []
    for place, document in enumerate(documents):
        seen = document
        if document.find(b"\\") >= 0:  # `in` costs an exception
            seen = _SPACE_BYTES.sub(b"  ", document)
            if b"\\" in seen.replace(b'\\"', b""):  # what stands behind escapes is looked at string by string
                doubtful.add(place)
                seen = b""
        plain.append(seen)
    together, every = b"\n".join(plain), _any_of(_kinds(_ALL))
    try:
        match = every.search(together)
        if match is None:
            return frozenset(doubtful)
        ends = list(accumulate(len(seen) + 1 for seen in plain))
        while match is not None:
            place = bisect_right(ends, match.start())
            doubtful.add(place)
            match = every.search(together, ends[place])
    except (ValueError, re2.error) as error:
        raise RedactionFailed(type(error).__name__) from None
    return frozenset(doubtful)


class Redactor:
    """Takes kinds of text out of JSON values, with the placeholders of one key."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms

    def redact(self, value: Json, classes: frozenset[str]) -> Json:
        """`value` with every string in it redacted, names of fields too; `value` itself where there was nothing to take out.

        Raises RedactionFailed.
        """
        if not classes:
            return value
        try:
            kinds = _kinds(classes)
            if not self._suspicious(value, kinds):
                return value
            return self._walk(value, kinds)
        except (ValueError, TypeError, RecursionError, OverflowError, re2.error) as error:
            raise RedactionFailed(type(error).__name__) from None  # its message may hold the content

    def text(self, text: str, kinds: tuple[str, ...]) -> str:
        """One string, redacted. JSON inside the string (tool arguments) is looked through behind its escapes."""
        if text.startswith("data:") and _DATA_URL.fullmatch(text):
            return text
        plain = _ESCAPED_ASCII.sub(_unescape, text) if "\\u00" in text else text
        seen = _ESCAPED_SPACE.sub("  ", plain) if "\\" in plain else plain
        if _any_of(kinds).search(seen) is None:
            return text
        pieces, last = [], 0
        for start, end, kind in _spans(seen, kinds):
            pieces += [plain[last:start], self._placeholder(kind, plain[start:end])]
            last = end
        return "".join([*pieces, plain[last:]]) if pieces else text

    def _suspicious(self, value: Json, kinds: tuple[str, ...]) -> bool:
        document = msgspec.json.encode(value)
        if b"\\" in document:
            if b"\\u00" in document or b"\\\\" in document:
                return True  # what stands behind escapes is looked at string by string
            document = _SPACE_BYTES.sub(b"  ", document)
        return _any_of(kinds).search(document) is not None

    def _walk(self, value: Json, kinds: tuple[str, ...]) -> Json:
        if isinstance(value, str):
            return self.text(value, kinds)
        if isinstance(value, list | tuple):
            return [self._walk(item, kinds) for item in value]
        if isinstance(value, dict):
            return {self.text(name, kinds): self._walk(item, kinds) for name, item in value.items()}
        return value

    def _placeholder(self, kind: str, value: str) -> str:
        return f"<{kind}:{self._pseudonyms.of(kind, KINDS[kind].canonical(value), hex_chars=TOKEN_HEX)}>"


def _unescape(match: re.Match[str]) -> str:
    """A JSON escape inside a string that holds JSON (tool arguments), but for those that JSON needs."""
    char = chr(int(match[1], 16))
    return match[0] if char in '"\\\x7f' else char


def _spans(text: str, kinds: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """What to take out, from left to right. Where two overlap, both go, as the kind that is looked for first."""
    found = sorted((start, end, rank) for rank, kind in enumerate(kinds) for start, end in _found(text, kind))
    merged: list[tuple[int, int, int]] = []
    for start, end, rank in found:
        if merged and start < merged[-1][1]:
            before = merged.pop()
            merged.append((before[0], max(before[1], end), min(before[2], rank)))
        else:
            merged.append((start, end, rank))
    return [(start, end, kinds[rank]) for start, end, rank in merged]


def _found(text: str, kind: str) -> Iterable[tuple[int, int]]:
    rule = KINDS[kind]
    if rule.spans is not None:
        yield from rule.spans(text)
        return
    for match in _compiled(kind).finditer(text):
        group = 1 if match.lastindex else 0
        if rule.proves is None or rule.proves(match.group(group)):
            yield match.span(group)
