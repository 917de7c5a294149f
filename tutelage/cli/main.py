"""Entry point: joins the command groups; turns the program's own errors into one line and an exit code.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or configuration, 3 not found or stale, 4 the store is out of reach.
To add a command group: one file beside this one, one line in COMMANDS.
"""

import sys
from collections.abc import Callable

import typer

from router.rollout import IllegalTransition
from tutelage import __version__
from tutelage.cli import aa, check, demo, evaluate, keys, plan, routes, run, simulate, verbs
from tutelage.contracts.errors import ConfigurationError, StaleRevision, StoreUnavailable, TutelageError, UnknownName

COMMANDS: tuple[Callable[[typer.Typer], None], ...] = (
    run.register,
    routes.register,
    verbs.register,
    keys.register,
    check.register,
    demo.register,
    evaluate.register,
    aa.register,
    plan.register,
    simulate.register,
)
_EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigurationError, 2),
    (UnknownName, 3),
    (StaleRevision, 3),
    (StoreUnavailable, 4),
    (IllegalTransition, 1),
    (TutelageError, 1),
)


def application() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="tutelage",
        help=f"Tutelage {__version__}: serve a distilled student until it has earned the traffic.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for register in COMMANDS:
        register(app)
    return app


def main() -> None:
    """Run one command. The program's own errors become one line on standard error."""
    try:
        application()()
    except (TutelageError, IllegalTransition) as fault:
        typer.echo(f"tutelage: {fault}", err=True)
        sys.exit(next(code for kind, code in _EXIT_CODES if isinstance(fault, kind)))


if __name__ == "__main__":
    main()
