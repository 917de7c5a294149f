"""Which kinds of upstream there are, and how settings become one.

To add a kind: its file beside this one, one line in UPSTREAMS, its name in `UpstreamSettings.kind`.
"""

import random
import time
from collections.abc import Callable, Mapping

from gateway.upstreams.base import Upstream
from gateway.upstreams.dial import Proxies, trusting
from gateway.upstreams.litellm import LitellmUpstream
from gateway.upstreams.openai import OpenAIUpstream
from tutelage.contracts.load import secret
from tutelage.contracts.upstreams import UpstreamSettings

Builder = Callable[[str, UpstreamSettings, str | None, Mapping[str, str]], Upstream]
"""From the upstream's name, its settings, its key, which is resolved already, and the environment."""


def _openai(name: str, settings: UpstreamSettings, api_key: str | None, environment: Mapping[str, str]) -> Upstream:
    secure = any(url.startswith("https:") for url in settings.urls)
    return OpenAIUpstream(
        name=name,
        base_urls=settings.urls,
        api_key=api_key,
        max_connections=settings.max_connections,
        clock=time.monotonic,
        draw=random.random,
        tls=trusting(settings.ca_file) if secure else None,
        proxies=Proxies.of(environment),
    )


def _litellm(name: str, settings: UpstreamSettings, api_key: str | None, _: Mapping[str, str]) -> Upstream:
    base_url = settings.urls[0] if settings.urls else None
    return LitellmUpstream(name=name, model=settings.model, base_url=base_url, api_key=api_key)


UPSTREAMS: Mapping[str, Builder] = {"openai": _openai, "vllm": _openai, "litellm": _litellm}


def build_upstream(name: str, settings: UpstreamSettings, environment: Mapping[str, str]) -> Upstream:
    """The upstream `name`. Raises ConfigurationError where its secret or a base URL cannot be used."""
    api_key = secret(settings.api_key, environment) if settings.api_key is not None else None
    return UPSTREAMS[settings.kind](name, settings, api_key, environment)
