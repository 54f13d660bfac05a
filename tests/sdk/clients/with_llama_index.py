"""The packages of llama-index: OpenAILike, OpenAI and AzureOpenAI, with their embeddings."""

from __future__ import annotations

from typing import Any

import openai
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.azure_openai import AzureOpenAIEmbedding
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.azure_openai import AzureOpenAI
from llama_index.llms.openai import OpenAI
from llama_index.llms.openai_like import OpenAILike
from scenario import TOOL, Face, Place, Turns, main

VERSION = "2024-10-21"


class Plain(Face):
    """OpenAI, with another base."""

    errors = (openai.APIStatusError,)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.llm = self.build()

    def build(self) -> Any:
        """The model."""
        return OpenAI(model=self.place.model, **self.options())

    def options(self) -> dict[str, Any]:
        """What model and embeddings are built with."""
        return {
            "api_base": f"{self.place.url}/v1",
            "api_key": self.place.key,
            "max_retries": self.place.retries,
        }

    def ask(self, turns: Turns) -> str:
        messages = [ChatMessage(role=role, content=text) for role, text in turns]
        return self.llm.chat(messages).message.content

    def stream(self, turns: Turns) -> list[str]:
        messages = [ChatMessage(role=role, content=text) for role, text in turns]
        return [piece.delta for piece in self.llm.stream_chat(messages) if piece.delta]

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        def look_up(place: str, days: int) -> str:
            """Look up what is on at a place."""
            return result

        tools = [FunctionTool.from_defaults(look_up, name=TOOL["name"])]
        messages = [ChatMessage(role="user", content=question)]
        asked = self.llm.chat_with_tools(tools, chat_history=messages)
        (call,) = self.llm.get_tool_calls_from_response(asked)
        returned = tools[0].call(**call.tool_kwargs).content
        named = {"tool_call_id": call.tool_id}
        messages.append(asked.message)
        messages.append(ChatMessage(role="tool", content=returned, additional_kwargs=named))
        done = self.llm.chat_with_tools(tools, chat_history=messages)
        return {
            "name": call.tool_name,
            "arguments": call.tool_kwargs,
            "said": done.message.content,
        }

    def embed(self, texts: list[str]) -> list[list[float]]:
        made = OpenAIEmbedding(model_name=self.place.embedding_model, **self.options())
        return made.get_text_embedding_batch(texts)


class Like(Plain):
    """OpenAILike."""

    embed = None

    def build(self) -> Any:
        """The model."""
        return OpenAILike(
            model=self.place.model,
            is_chat_model=True,
            is_function_calling_model=True,
            **self.options(),
        )


class Azure(Plain):
    """AzureOpenAI and AzureOpenAIEmbedding."""

    def build(self) -> Any:
        """The model."""
        return AzureOpenAI(model="gpt-4o", engine=self.place.model, **self.options())

    def options(self) -> dict[str, Any]:
        """What model and embeddings are built with."""
        return {
            "azure_endpoint": self.place.url,
            "api_key": self.place.key,
            "api_version": VERSION,
            "max_retries": self.place.retries,
        }

    def embed(self, texts: list[str]) -> list[list[float]]:
        made = AzureOpenAIEmbedding(deployment_name=self.place.embedding_model, **self.options())
        return made.get_text_embedding_batch(texts)


if __name__ == "__main__":
    main({"openai": Plain, "openai-like": Like, "azure": Azure})
