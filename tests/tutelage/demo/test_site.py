from pathlib import Path

import httpx
import pytest

from tutelage.demo.site import free_port, running_site


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_site_listens_where_its_document_says(tmp_path: Path):
    port, metrics_port = free_port(), free_port()
    document = {
        "gateway": {"bind": f"0.0.0.0:{port}", "processes": 1, "metrics_port": metrics_port},
        "upstreams": {"gpt": {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"}},
        "routes": {"plain": {"teacher": "gpt"}},
    }
    async with running_site(tmp_path, document) as site:
        assert site.url == f"http://127.0.0.1:{port}"
        assert site.url in site.config.read_text(), "the worker asks its judges there"
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"http://127.0.0.1:{metrics_port}/metrics")).status_code == 200
