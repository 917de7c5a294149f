"""How commands answer: words for people, or one JSON document with `--json`. Control characters never reach the terminal."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Config = Annotated[Path, typer.Option("--config", help="Configuration file.", metavar="FILE")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]
DEFAULT_CONFIG = Path("tutelage.yaml")


def say(text: str) -> None:
    """Print `text` without the control characters that could steer a terminal."""
    typer.echo("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text))


def answer(document: Any, words: str, *, as_json: bool) -> None:
    """Print `document` as JSON or `words` for people."""
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=True, indent=2))
    else:
        say(words)


@contextmanager
def bar(total: int, what: str, *, as_json: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; what it yields takes how much is done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=as_json, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
