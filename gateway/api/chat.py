"""POST /v1/chat/completions."""

from gateway.exchange import Endpoint
from gateway.relay import Form

PATH = "/v1/chat/completions"
ENDPOINT = Endpoint(name="chat.completions", path="/chat/completions", form=Form(field="choices", done=True))
