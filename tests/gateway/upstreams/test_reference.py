"""The contract over an upstream that shares no code with ours."""

from tests.gateway.upstreams.contract import Contract
from tests.gateway.upstreams.reference import HttpxUpstream


class TestHttpx(Contract):
    def build(self, url: str, *, max_connections: int = 64) -> HttpxUpstream:
        return HttpxUpstream(name="httpx", base_url=url, api_key="the-key", max_connections=max_connections)
