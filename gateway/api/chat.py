"""POST /v1/chat/completions."""

from gateway.exchange import Endpoint
from gateway.needs import CHAT
from gateway.relay import Form

PATH = "/v1/chat/completions"
ENDPOINT = Endpoint(name=CHAT, path="/chat/completions", form=Form(field="choices"))
