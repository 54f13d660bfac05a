"""The package semantic-kernel: its services for OpenAI and Azure."""

from __future__ import annotations

from typing import Annotated, Any

import openai
from scenario import TOOL, Face, Place, Turns, main
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import (
    AzureChatCompletion,
    AzureTextEmbedding,
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
    OpenAITextEmbedding,
)
from semantic_kernel.contents import ChatHistory, FunctionCallContent
from semantic_kernel.exceptions import ServiceResponseException
from semantic_kernel.functions import kernel_function

VERSION = "2024-10-21"


def spoken(turns: Turns) -> ChatHistory:
    """Turns as its history."""
    history = ChatHistory()
    for role, text in turns:
        history.add_message({"role": role, "content": text})
    return history


class Plain(Face):
    """OpenAIChatCompletion over a client of its own."""

    errors = (ServiceResponseException,)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.client = self.build()
        self.chat = self.service()

    def build(self) -> Any:
        """The client below."""
        return openai.AsyncOpenAI(
            base_url=f"{self.place.url}/v1",
            api_key=self.place.key,
            max_retries=self.place.retries,
        )

    def service(self) -> Any:
        """The chat service."""
        return OpenAIChatCompletion(ai_model_id=self.place.model, async_client=self.client)

    def embedder(self) -> Any:
        """The embedding service."""
        return OpenAITextEmbedding(ai_model_id=self.place.embedding_model, async_client=self.client)

    def ask(self, turns: Turns) -> str:
        settings = OpenAIChatPromptExecutionSettings()
        asked = self.chat.get_chat_message_content(spoken(turns), settings)
        return self.loop.run(asked).content

    def stream(self, turns: Turns) -> list[str]:
        async def read() -> list[str]:
            settings = OpenAIChatPromptExecutionSettings()
            made = self.chat.get_streaming_chat_message_content(spoken(turns), settings)
            return [piece.content async for piece in made if piece is not None and piece.content]

        return self.loop.run(read())

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        class Plugin:
            @kernel_function(name=TOOL["name"], description=TOOL["description"])
            def look_up(
                self, place: Annotated[str, "where"], days: Annotated[int, "how long"]
            ) -> str:
                called.append({"place": place, "days": days})
                return result

        called: list[dict[str, Any]] = []
        kernel = Kernel()
        kernel.add_plugin(Plugin(), plugin_name="town")
        settings = OpenAIChatPromptExecutionSettings(
            function_choice_behavior=FunctionChoiceBehavior.Auto()
        )
        history = spoken([("user", question)])
        done = self.loop.run(self.chat.get_chat_message_content(history, settings, kernel=kernel))
        calls = [
            item
            for message in history
            for item in message.items
            if isinstance(item, FunctionCallContent)
        ]
        return {
            "name": calls[0].function_name,
            "arguments": called[0],
            "said": done.content,
        }

    def embed(self, texts: list[str]) -> list[list[float]]:
        made = self.loop.run(self.embedder().generate_embeddings(texts))
        return [[float(number) for number in row] for row in made]

    def told(self, error: Exception) -> dict[str, Any]:
        cause: Any = error.__cause__
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {**super().told(cause), "types": kinds, "message": f"{error}: {cause}"}


class Azure(Plain):
    """AzureChatCompletion."""

    def build(self) -> Any:
        """The client below."""
        return openai.AsyncAzureOpenAI(
            azure_endpoint=self.place.url,
            api_version=VERSION,
            api_key=self.place.key,
            max_retries=self.place.retries,
        )

    def service(self) -> Any:
        """The chat service."""
        return AzureChatCompletion(deployment_name=self.place.model, async_client=self.client)

    def embedder(self) -> Any:
        """The embedding service."""
        return AzureTextEmbedding(
            deployment_name=self.place.embedding_model, async_client=self.client
        )


if __name__ == "__main__":
    main({"openai": Plain, "azure": Azure})
