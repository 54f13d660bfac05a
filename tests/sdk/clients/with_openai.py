"""The package openai: `OpenAI` and `AzureOpenAI`, by key and by token. For versions 2 and 3."""

from __future__ import annotations

import openai
from openai_faces import Chat, Responses, built
from scenario import Place, main

VERSION = "2024-10-21"


def plain(place: Place) -> openai.OpenAI:
    """The client of OpenAI itself."""
    return openai.OpenAI(base_url=f"{place.url}/v1", api_key=place.key, max_retries=place.retries)


def azure_v1(place: Place) -> openai.OpenAI:
    """The client of OpenAI, on the paths of Azure's version 1."""
    return openai.OpenAI(
        base_url=f"{place.url}/openai/v1/", api_key=place.key, max_retries=place.retries
    )


def azure(place: Place) -> openai.AzureOpenAI:
    """Azure's client, by key."""
    return openai.AzureOpenAI(
        azure_endpoint=place.url,
        api_key=place.key,
        api_version=VERSION,
        max_retries=place.retries,
    )


def azure_token(place: Place) -> openai.AzureOpenAI:
    """Azure's client, by token."""
    return openai.AzureOpenAI(
        azure_endpoint=place.url,
        azure_ad_token=place.key,
        api_version=VERSION,
        max_retries=place.retries,
    )


def azure_deployment(place: Place) -> openai.AzureOpenAI:
    """Azure's client, made for one deployment."""
    return openai.AzureOpenAI(
        azure_endpoint=place.url,
        azure_deployment=place.model,
        api_key=place.key,
        api_version=VERSION,
        max_retries=place.retries,
    )


class ChatAlone(Chat):
    """A client of one deployment has no embeddings of another, and lists no models."""

    embed = models = None


if __name__ == "__main__":
    main(
        {
            "chat": built(Chat, plain),
            "responses": built(Responses, plain),
            "azure v1 chat": built(Chat, azure_v1),
            "azure v1 responses": built(Responses, azure_v1),
            "azure chat": built(Chat, azure),
            "azure responses": built(Responses, azure),
            "azure token": built(Chat, azure_token),
            "azure deployment": built(ChatAlone, azure_deployment),
        }
    )
