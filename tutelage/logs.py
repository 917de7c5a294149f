"""Structured logs: one JSON object a line on standard error, or on standard output where a role was started with `--json`.

Called once by each composition root; nothing else configures logging. Records of other libraries pass through the same
renderer. Secrets and content are never passed to a logger by this program.
"""

import argparse
import logging
import sys
from typing import Any, TextIO

import structlog


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--json`, as every role has it: `log_to` is the stream that `configure` takes."""
    parser.add_argument(
        "--json",
        dest="log_to",
        action="store_const",
        const=sys.stdout,
        default=sys.stderr,
        help="log on standard output, one JSON object a line",
    )


def configure(role: str, log_to: TextIO, level: str = "INFO") -> None:
    """Log as `role` ("gateway", "control", "worker", "serve") from `level` up."""

    def of_role(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "role": role}

    shared: list[structlog.typing.Processor] = [
        of_role,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(log_to)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "LiteLLM"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
