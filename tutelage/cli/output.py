"""How commands answer: words for people, or one JSON document with `--json`. Control characters never reach the terminal."""

import json
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
