"""schemathesis on the gateway's own two planes: made-up requests, good and bad, with and without a key.

There is nothing to compare with: an operation passes where no check finds anything. Its upstream answers whatever it is asked,
and there is no `default_upstream`: with one, methods that the gateway does not serve are the upstream's to refuse.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conformance.installation import gateway_before
from tests.conformance.own_documents import admin_plane, data_plane
from tests.conformance.schemathesis import checked
from tests.conformance.suite import THROUGH, Run
from tests.gateway.model_server import answering, model_server

NAME = "schemathesis"
EXAMPLES = 30
PHASES = ("examples", "coverage", "fuzzing")
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "unsupported_method", "ignored_auth",
)  # fmt: skip


async def run(folder: Path) -> dict[str, Mapping[str, bool]]:
    """(operation, nothing found) by plane."""
    found: dict[str, Mapping[str, bool]] = {}
    async with model_server("answering", answering("fine")) as upstream:
        place = folder / "gateway"
        async with gateway_before(upstream.url, place, keys=(), route=THROUGH["split"], default_upstream=None) as site:
            planes = {
                "data plane": (data_plane(), site.url, site.key),
                "admin plane": (admin_plane(), site.admin_url, site.admin_key),
            }
            for plane, (document, url, key) in planes.items():
                found[plane] = await asyncio.to_thread(_checked, folder / plane, document, url, key)
    return found


def _checked(place: Path, document: Mapping[str, Any], url: str, key: str) -> Mapping[str, bool]:
    place.mkdir(parents=True)
    (place / "openapi.json").write_text(json.dumps(document, indent=1))
    run = Run(base_url=url, folder=place)
    return checked(run, place / "openapi.json", key, mode="all", checks=CHECKS, phases=PHASES, examples=EXAMPLES)
