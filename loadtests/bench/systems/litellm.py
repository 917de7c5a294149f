"""LiteLLM's proxy, the version that the project pins: one worker, a master key, no database, quiet."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import yaml

from loadtests.bench.install import python
from loadtests.bench.processes import running
from loadtests.bench.systems.base import Place, Target, free_port


class LiteLLM:
    """The package from PyPI, with its extra `proxy`, in an environment of its own."""

    name = "litellm"

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
        environment = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_TELEMETRY": "False",
            "HF_HUB_OFFLINE": "1",
        }
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
        "litellm_settings": {"set_verbose": False, "json_logs": False, "telemetry": False},
        "general_settings": {"master_key": key},
    }
