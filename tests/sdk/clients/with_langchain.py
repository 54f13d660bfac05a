"""The package langchain-openai."""

from __future__ import annotations

from typing import Any

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import (
    AzureChatOpenAI,
    AzureOpenAIEmbeddings,
    ChatOpenAI,
    OpenAIEmbeddings,
)
from scenario import TOOL, Face, Place, Turns, main

VERSION = "2024-10-21"


class Plain(Face):
    """ChatOpenAI and OpenAIEmbeddings."""

    errors = (openai.APIStatusError,)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.chat = self.build()

    def build(self) -> Any:
        """The chat model."""
        return ChatOpenAI(model=self.place.model, **self.options())

    def options(self) -> dict[str, Any]:
        """What chat and embeddings are built with."""
        return {
            "base_url": f"{self.place.url}/v1",
            "api_key": self.place.key,
            "max_retries": self.place.retries,
        }

    def ask(self, turns: Turns) -> str:
        return self.chat.invoke(turns).text

    def stream(self, turns: Turns) -> list[str]:
        return [piece.text for piece in self.chat.stream(turns) if piece.text]

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        bound = self.chat.bind_tools([TOOL])
        messages: list[Any] = [HumanMessage(question)]
        asked = bound.invoke(messages)
        (call,) = asked.tool_calls
        messages += [asked, ToolMessage(result, tool_call_id=call["id"])]
        return {
            "name": call["name"],
            "arguments": call["args"],
            "said": bound.invoke(messages).text,
        }

    def embed(self, texts: list[str]) -> list[list[float]]:
        made = OpenAIEmbeddings(
            model=self.place.embedding_model, check_embedding_ctx_length=False, **self.options()
        )
        return made.embed_documents(texts)


class Responses(Plain):
    """ChatOpenAI over the responses API."""

    embed = None

    def build(self) -> Any:
        """The chat model."""
        return ChatOpenAI(model=self.place.model, use_responses_api=True, **self.options())


class Azure(Plain):
    """AzureChatOpenAI and AzureOpenAIEmbeddings."""

    def build(self) -> Any:
        """The chat model."""
        return AzureChatOpenAI(azure_deployment=self.place.model, **self.options())

    def options(self) -> dict[str, Any]:
        """What chat and embeddings are built with."""
        return {
            "azure_endpoint": self.place.url,
            "api_key": self.place.key,
            "api_version": VERSION,
            "max_retries": self.place.retries,
        }

    def embed(self, texts: list[str]) -> list[list[float]]:
        made = AzureOpenAIEmbeddings(
            azure_deployment=self.place.embedding_model,
            check_embedding_ctx_length=False,
            **self.options(),
        )
        return made.embed_documents(texts)


if __name__ == "__main__":
    main({"chat": Plain, "responses": Responses, "azure": Azure})
