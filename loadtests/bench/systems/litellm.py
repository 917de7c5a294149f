"""LiteLLM's proxy, the version that the project pins: one worker, a master key, no database."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import yaml

from loadtests.bench.install import python
from loadtests.bench.processes import running
from loadtests.bench.systems.base import Place, Target, free_port

OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "HF_HUB_OFFLINE": "1"}
QUIET = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
"""The least that it can be told to do: no line per request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteLLM:
    """The package from PyPI with its extra `proxy`, as it starts by default or with more in its `environment`."""

    name: str = "litellm"
    environment: Mapping[str, str] = field(default_factory=dict)

    def install(self) -> None:
        self._interpreter()

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        port, key = free_port(), f"sk-{secrets.token_hex(32)}"  # it refuses weak keys
        configuration = place.folder / "litellm.yaml"
        configuration.write_text(yaml.safe_dump(_document(place, key)))
        argv = [
            str(self._interpreter().parent / "litellm"),
            *("--config", str(configuration), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
        ]
        environment = {**OFFLINE, **self.environment}
        url = f"http://127.0.0.1:{port}"
        log = place.folder / "litellm.log"
        with running(argv, log=log, ready_url=f"{url}/health/liveliness", environment=environment) as pid:
            yield Target(name=self.name, url=url, pid=pid, version=version("litellm"), keys=(key,), patience=2)

    def _interpreter(self) -> Path:
        return python("litellm-proxy", f"litellm[proxy]=={version('litellm')}")


def _document(place: Place, key: str) -> dict[str, object]:
    model = {"model": "openai/mock-1", "api_base": f"{place.upstream}/v1", "api_key": "sk-mock"}
    return {
        "model_list": [{"model_name": "mock-1", "litellm_params": model}],
        "general_settings": {"master_key": key},
    }
