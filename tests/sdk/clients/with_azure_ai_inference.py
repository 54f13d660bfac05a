"""The package azure-ai-inference, on the models endpoint and on one deployment's."""

from __future__ import annotations

import json
from typing import Any

from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient
from azure.ai.inference.models import (
    AssistantMessage,
    ChatCompletionsToolDefinition,
    FunctionDefinition,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from scenario import TOOL, Face, Place, Turns, main

ROLES = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}


class Models(Face):
    """Endpoint G/models; the model is named in the body."""

    errors = (HttpResponseError,)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.client = ChatCompletionsClient(**self.options(place.model))

    def options(self, model: str) -> dict[str, Any]:
        """What both clients are built with."""
        return {
            "endpoint": f"{self.place.url}/models",
            "credential": AzureKeyCredential(self.place.key),
            "model": model,
            "retry_total": self.place.retries,
        }

    def ask(self, turns: Turns) -> str:
        made = self.client.complete(messages=[ROLES[role](content=text) for role, text in turns])
        return made.choices[0].message.content

    def stream(self, turns: Turns) -> list[str]:
        messages = [ROLES[role](content=text) for role, text in turns]
        updates = self.client.complete(messages=messages, stream=True)
        choices = [choice for update in updates for choice in update.choices]
        return [choice.delta.content for choice in choices if choice.delta.content]

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        tools = [ChatCompletionsToolDefinition(function=FunctionDefinition(**TOOL))]
        messages: list[Any] = [UserMessage(content=question)]
        asked = self.client.complete(messages=messages, tools=tools)
        (call,) = asked.choices[0].message.tool_calls
        messages.append(AssistantMessage(tool_calls=[call]))
        messages.append(ToolMessage(tool_call_id=call.id, content=result))
        done = self.client.complete(messages=messages, tools=tools)
        return {
            "name": call.function.name,
            "arguments": json.loads(call.function.arguments),
            "said": done.choices[0].message.content,
        }

    def embed(self, texts: list[str]) -> list[list[float]]:
        client = EmbeddingsClient(**self.options(self.place.embedding_model))
        return [row.embedding for row in client.embed(input=texts).data]

    def models(self) -> list[str]:
        return [self.client.get_model_info().model_name]

    def told(self, error: Exception) -> dict[str, Any]:
        code = error.error.code if error.error else None
        return {
            **super().told(error),
            "code": code,
            "retryAfter": error.response.headers.get("retry-after"),
        }


class Deployment(Models):
    """Endpoint G/openai/deployments/{d}; the body names no model."""

    def options(self, model: str) -> dict[str, Any]:
        """What both clients are built with."""
        endpoint = f"{self.place.url}/openai/deployments/{model}"
        return {**super().options(model), "endpoint": endpoint, "model": None}


if __name__ == "__main__":
    main({"models": Models, "deployment": Deployment})
