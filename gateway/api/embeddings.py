"""POST /v1/embeddings. Vectors of two models do not mix: a student serves them only where its `can.endpoints` says so."""

from gateway.exchange import Endpoint
from gateway.needs import EMBEDDINGS
from gateway.relay import Form
from gateway.sse import Ending

PATH = "/v1/embeddings"
ENDPOINT = Endpoint(name=EMBEDDINGS, path="/embeddings", form=Form(field="data", ending=Ending.ANY))
