"""The package litellm: the providers openai/, azure/ and azure_ai/."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

# What it would else fetch at import, and tell its makers.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_TELEMETRY"] = "False"

import litellm
import openai
from scenario import TOOL, Face, Place, Turns, main

litellm.telemetry = False
litellm.suppress_debug_info = True


class Plain(Face):
    """Models named openai/…"""

    errors = (openai.APIError,)
    prefix = "openai"

    def options(self) -> dict[str, Any]:
        """What every call is given."""
        return {
            "api_base": f"{self.place.url}/v1",
            "api_key": self.place.key,
            "max_retries": self.place.retries,
        }

    def _complete(self, messages: Any, **more: Any) -> Any:
        return litellm.completion(
            model=f"{self.prefix}/{self.place.model}",
            messages=messages,
            **self.options(),
            **more,
        )

    def ask(self, turns: Turns) -> str:
        done = self._complete([{"role": role, "content": text} for role, text in turns])
        return done.choices[0].message.content

    def stream(self, turns: Turns) -> list[str]:
        made = self._complete([{"role": r, "content": text} for r, text in turns], stream=True)
        choices = [choice for chunk in made for choice in chunk.choices]
        return [choice.delta.content for choice in choices if choice.delta.content]

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        tools = [{"type": "function", "function": TOOL}]
        messages: list[Any] = [{"role": "user", "content": question}]
        message = self._complete(messages, tools=tools).choices[0].message
        (call,) = message.tool_calls
        messages.append(message)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        done = self._complete(messages, tools=tools)
        return {
            "name": call.function.name,
            "arguments": json.loads(call.function.arguments),
            "said": done.choices[0].message.content,
        }

    def told(self, error: Exception) -> dict[str, Any]:
        headers = getattr(error, "litellm_response_headers", None) or {}
        return {**super().told(error), "retryAfter": headers.get("retry-after")}

    def embed(self, texts: list[str]) -> list[list[float]]:
        made = litellm.embedding(
            model=f"{self.prefix}/{self.place.embedding_model}", input=texts, **self.options()
        )
        return [row["embedding"] for row in made.data]


class Responses(Plain):
    """litellm.responses of models named openai/…"""

    embed = None

    def _respond(self, turns: Any, **more: Any) -> Any:
        return litellm.responses(
            model=f"{self.prefix}/{self.place.model}", input=turns, **self.options(), **more
        )

    def ask(self, turns: Turns) -> str:
        done = self._respond([{"role": role, "content": text} for role, text in turns])
        return _text(done)

    def stream(self, turns: Turns) -> list[str]:
        made = self._respond([{"role": r, "content": text} for r, text in turns], stream=True)
        return [event.delta for event in made if event.type == "response.output_text.delta"]

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        tools = [{"type": "function", **TOOL, "strict": False}]
        turns: list[Any] = [{"role": "user", "content": question}]
        (call,) = self._respond(turns, tools=tools).output
        turns.append(call.model_dump(exclude_none=True))
        turns.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
        done = self._respond(turns, tools=tools)
        return {"name": call.name, "arguments": json.loads(call.arguments), "said": _text(done)}


def _text(done: Any) -> str:
    return "".join(part.text for item in done.output for part in item.content)


class Azure(Plain):
    """Models named azure/…, which are deployments."""

    prefix = "azure"

    def options(self) -> dict[str, Any]:
        """What every call is given."""
        return {**super().options(), "api_base": self.place.url, "api_version": "2024-10-21"}


class AzureAI(Plain):
    """Models named azure_ai/… that are OpenAI's: litellm calls their deployments."""

    prefix = "azure_ai"

    def options(self) -> dict[str, Any]:
        """What every call is given."""
        return {**super().options(), "api_base": self.place.url}


class AzureAIModels(Plain):
    """Models named azure_ai/… of other makers, on the models endpoint."""

    prefix = "azure_ai"

    def __init__(self, place: Place) -> None:
        model = {"gpt-4o": "mistral-large-3"}.get(place.model, "mistral-none")
        super().__init__(replace(place, model=model, embedding_model="mistral-embed"))

    def options(self) -> dict[str, Any]:
        """What every call is given."""
        return {**super().options(), "api_base": f"{self.place.url}/models"}


FACES = {
    "openai": Plain,
    "responses": Responses,
    "azure": Azure,
    "azure_ai": AzureAI,
    "azure_ai models": AzureAIModels,
}

if __name__ == "__main__":
    main(FACES)
