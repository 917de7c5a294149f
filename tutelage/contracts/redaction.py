"""The redaction policy: which classes of text are taken out before anything is written, and its version.

The engine is `gateway/redact.py`. A row names the version under which it was made, so that a reader knows what it can
still hold. Change what is found: raise `VERSION`.
"""

from collections.abc import Iterable

VERSION = 1


class RedactionFailed(Exception):
    """This content could not be redacted, so it must not be written."""


CLASSES: dict[str, tuple[str, ...]] = {
    "secrets": ("private_key", "jwt", "aws_key", "github_token", "api_key", "bearer"),
    "contact": ("email", "iban", "card", "phone"),
}
"""Class, as a route's `capture.redact` names it → the kinds of text it takes out, in the order in which they are looked for."""


def kinds_of(classes: Iterable[str]) -> tuple[str, ...]:
    """The kinds of `classes`, in order. Raises ValueError for a class that does not exist: nothing is left in silently."""
    wanted = set(classes)
    if unknown := wanted - CLASSES.keys():
        raise ValueError(f"no redaction class {min(unknown)!r}; there are {', '.join(CLASSES)}")
    return tuple(kind for name, kinds in CLASSES.items() if name in wanted for kind in kinds)


def version_of(classes: Iterable[str]) -> str | None:
    """What a row says of its redaction: None where nothing is redacted.

    >>> version_of({"secrets", "contact"})
    '1:contact+secrets'
    """
    return f"{VERSION}:{'+'.join(sorted(classes))}" if classes else None
