"""The package pydantic-ai."""

from __future__ import annotations

from typing import Any

import openai
from pydantic_ai import Agent, Embedder, Tool
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.exceptions import ContentFilterError, ModelHTTPError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.azure import AzureProvider
from pydantic_ai.providers.openai import OpenAIProvider
from scenario import TOOL, Face, Place, Turns, main

VERSION = "2024-10-21"


def history(turns: Turns) -> list[ModelMessage]:
    """Turns as the messages that a run goes on from."""
    made: list[ModelMessage] = []
    for role, text in turns:
        if role == "assistant":
            made.append(ModelResponse(parts=[TextPart(text)]))
        else:
            part = SystemPromptPart(text) if role == "system" else UserPromptPart(text)
            made.append(ModelRequest(parts=[part]))
    return made


class Chat(Face):
    """OpenAIChatModel with OpenAIProvider."""

    errors = (ModelHTTPError, ContentFilterError)
    kind: Any = OpenAIChatModel

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.provider = self.build()
        self.model = self.kind(place.model, provider=self.provider)

    def build(self) -> Any:
        """The provider."""
        return OpenAIProvider(
            openai_client=openai.AsyncOpenAI(
                base_url=f"{self.place.url}/v1",
                api_key=self.place.key,
                max_retries=self.place.retries,
            )
        )

    def ask(self, turns: Turns) -> str:
        run = Agent(self.model).run(turns[-1][1], message_history=history(turns[:-1]))
        return self.loop.run(run).output

    def stream(self, turns: Turns) -> list[str]:
        async def read() -> list[str]:
            agent = Agent(self.model)
            earlier = history(turns[:-1])
            async with agent.run_stream(turns[-1][1], message_history=earlier) as made:
                return [piece async for piece in made.stream_text(delta=True, debounce_by=None)]

        return self.loop.run(read())

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        def look_up(place: str, days: int) -> str:
            """Look up what is on at a place."""
            return result

        done = self.loop.run(
            Agent(self.model, tools=[Tool(look_up, name=TOOL["name"])]).run(question)
        )
        calls = [
            part
            for message in done.all_messages()
            for part in message.parts
            if isinstance(part, ToolCallPart)
        ]
        (call,) = calls
        return {"name": call.tool_name, "arguments": call.args_as_dict(), "said": done.output}

    def embed(self, texts: list[str]) -> list[list[float]]:
        model = OpenAIEmbeddingModel(self.place.embedding_model, provider=self.provider)
        made = self.loop.run(Embedder(model).embed_documents(texts))
        return [list(vector) for vector in made.embeddings]

    def told(self, error: Exception) -> dict[str, Any]:
        if isinstance(error, ContentFilterError):
            return super().told(error)
        body = error.body or {}
        cause = error.__cause__
        return {
            **super().told(error),
            "code": body.get("code"),
            "retryAfter": cause.response.headers.get("retry-after"),
        }


class Responses(Chat):
    """OpenAIResponsesModel."""

    kind = OpenAIResponsesModel
    embed = None


class Azure(Chat):
    """OpenAIChatModel with AzureProvider."""

    def build(self) -> Any:
        """The provider."""
        return AzureProvider(
            openai_client=openai.AsyncAzureOpenAI(
                azure_endpoint=self.place.url,
                api_version=VERSION,
                api_key=self.place.key,
                max_retries=self.place.retries,
            )
        )


if __name__ == "__main__":
    main({"chat": Chat, "responses": Responses, "azure": Azure})
