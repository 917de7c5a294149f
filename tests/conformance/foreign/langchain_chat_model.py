"""langchain's integration tests of chat models, for langchain-openai. Run in their own environment, by path."""

import os
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class TestChatOpenAI(ChatModelIntegrationTests):  # type: ignore[misc]  # typed in its own environment only
    """What langchain-openai says of OpenAI's models, as far as chat completions go."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI  # type: ignore[no-any-return]

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "gpt-4o",
            "base_url": os.environ["CONFORMANCE_BASE_URL"],
            "api_key": os.environ["CONFORMANCE_API_KEY"],
            "max_retries": 0,
            "stream_usage": True,
            "use_responses_api": False,
        }

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True
