"""`tutelage check-config`: read the configuration and everything that it names, and say what would go wrong."""

from pathlib import Path

import typer

from scoring.judges.budget import budget_of
from scoring.rubrics.anchors import anchors_of
from scoring.rubrics.load import rubrics_folder
from scoring.rubrics.scorer import compile_rubric
from tutelage.cli.output import DEFAULT_CONFIG, AsJson, Config, answer
from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import load, secret
from tutelage.contracts.prices import PriceList
from tutelage.contracts.settings import Settings


def register(app: typer.Typer) -> None:
    app.command("check-config")(check_config)


def check_config(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check the configuration, its rubrics and its secrets without starting anything. Exit code 2 where it cannot run."""
    settings = load(config)
    folder = rubrics_folder(config, settings.rubrics)
    faults = [*_rubric_faults(settings, folder), *_budget_faults(settings), *_secret_faults(settings)]
    if faults:
        raise ConfigurationError(f"{config}: " + "\n".join(faults))
    document = {"routes": sorted(settings.routes), "upstreams": sorted(settings.upstreams), "faults": []}
    words = f"{config} is right: {len(settings.routes)} route(s), {len(settings.upstreams)} upstream(s)"
    answer(document, words, as_json=as_json)


def _rubric_faults(settings: Settings, folder: Path) -> list[str]:
    faults = []
    for name, route in settings.routes.items():
        if route.rubric is not None:
            try:
                anchors_of(folder, compile_rubric(folder, route.rubric).rubric)
            except ConfigurationError as fault:
                faults.append(f"routes.{name}.rubric: {fault}")
    return faults


def _budget_faults(settings: Settings) -> list[str]:
    prices = PriceList(settings.upstreams)
    faults = []
    for name in settings.routes:
        try:
            budget_of(settings, name, prices)
        except ConfigurationError as fault:
            faults.append(str(fault))
    return faults


def _secret_faults(settings: Settings) -> list[str]:
    faults = []
    references = [(f"upstreams.{name}.api_key", up.api_key) for name, up in settings.upstreams.items()]
    for where, reference in [*references, ("internal.key", settings.internal.key)]:
        if reference is not None:
            try:
                secret(reference)
            except ConfigurationError as fault:
                faults.append(f"{where}: {fault}")
    return faults
