"""A JSON object of which only the beginning is there: where the text of one of its own members stands. Pure.

Must not know what the object is.
"""

import re

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["{}\[\],:]|[^\s"{}\[\],:]++', re.DOTALL)
"""A quote alone begins a text whose end is not there."""
_OPEN, _CLOSE = (b"{", b"["), (b"}", b"]")


def text_of(beginning: bytes, name: str) -> tuple[int, int] | None:
    """From where to where the member's text stands, quotes included; None where it is no text, or not there yet."""
    key, depth, before = b'"%b"' % name.encode(), 0, [b"", b""]
    for match in _TOKEN.finditer(beginning):
        token = match.group()
        if token == b'"':
            return None
        if depth == 1 and before == [key, b":"]:
            return match.span() if token.startswith(b'"') else None
        depth += (token in _OPEN) - (token in _CLOSE)
        before = [before[1], token]
    return None
