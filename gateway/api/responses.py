"""POST /v1/responses. Split only with `store: false`; whatever keeps or needs state is the teacher's (`gateway.needs`).

Everything below this path (retrieve, delete, cancel, input items) names no model and is passed through.
"""

from gateway.exchange import Endpoint
from gateway.needs import RESPONSES
from gateway.relay import Form
from gateway.sse import Ending

PATH = "/v1/responses"
ENDPOINT = Endpoint(
    name=RESPONSES, path="/responses", form=Form(field="output", ending=Ending.TYPED), model_required=False
)
