"""POST /v1/completions: text in, text out; no messages."""

from gateway.exchange import Endpoint
from gateway.needs import COMPLETIONS
from gateway.relay import Form

PATH = "/v1/completions"
ENDPOINT = Endpoint(name=COMPLETIONS, path="/completions", form=Form(field="choices"))
