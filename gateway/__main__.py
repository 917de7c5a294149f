"""`python -m gateway --config FILE --index I`: one gateway process."""

import argparse
import gc
import sys
from pathlib import Path

import structlog
import uvloop

from gateway.app import run
from tutelage import logs
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import load

COLLECT_AFTER = (20_000, 20, 100)
"""Objects that are left over before the youngest generation is looked through, and so on (`gc.set_threshold`)."""


def main() -> int:
    """Exit code 0 after a drain, 2 where the configuration cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m gateway", description="One process of the data plane.")
    parser.add_argument("--config", type=Path, default=Path("tutelage.yaml"), help="the configuration file")
    parser.add_argument("--index", type=int, default=0, help="which of several processes on this machine")
    logs.add_option(parser)
    arguments = parser.parse_args()
    logs.configure("gateway", arguments.log_to)
    _spare_the_collector()
    try:
        return uvloop.run(run(load(arguments.config), arguments.index))
    except (ConfigurationError, OSError) as fault:
        structlog.get_logger().error("cannot start", error=str(fault))
        return 2


def _spare_the_collector() -> None:
    """Requests make little that only the collector can free, and what is loaded by now stays: looking through all of it seven
    times a second was an eighth of a request's cost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


if __name__ == "__main__":
    sys.exit(main())
