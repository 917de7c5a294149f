"""The error tree of the program. Every class says whose fault it is and which status it becomes.

    TutelageError
    ├── ConfigurationError    the operator's; refuses to start, exit code 2
    ├── StaleRevision         the caller's; 412, read the revision again
    ├── LeaseLost             nobody's; another control process is the active one, this one stands by
    ├── UnknownName           the caller's; 404, names what there is
    ├── NotDrawn              the caller's; 409, this pair is not one that people are asked about
    └── StoreUnavailable      the machine's; moves fail with 503, serving goes on
`router.rollout.IllegalTransition` (409) belongs to the pure tree.
"""


class TutelageError(Exception):
    """Base of what the program raises on purpose. `status` is the HTTP status it becomes on the admin plane."""

    status = 500


class ConfigurationError(TutelageError):
    """The configuration cannot be used. The message names the key, the bad value and the fix."""

    status = 400


class StaleRevision(TutelageError):
    """Compare-and-set lost: somebody else moved the rollout."""

    status = 412

    def __init__(self, route: str, expected: int, actual: int) -> None:
        super().__init__(f"route {route!r} is at revision {actual}, not {expected}: read it again and repeat the call")
        self.expected = expected
        self.actual = actual


class LeaseLost(TutelageError):
    """An automatic event came from a control process that no longer holds the lease. Nothing was changed."""

    status = 503


class UnknownName(TutelageError):
    """No route, key or pair of that name."""

    status = 404


class NotDrawn(TutelageError):
    """A label of a pair that was not drawn for it: it would not stand for the others."""

    status = 409


class StoreUnavailable(TutelageError):
    """The store did not answer. Nothing was changed."""

    status = 503
