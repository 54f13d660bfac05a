"""The package azure-ai-projects: the OpenAI client that a project hands out."""

from __future__ import annotations

import time
from typing import Any

import openai
from azure.ai.projects import AIProjectClient
from azure.core.credentials import AccessToken
from openai_faces import Chat, Responses, built
from scenario import Place, main


class Held:
    """A TokenCredential that holds a token already."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(self._token, int(time.time()) + 3600)


def project(place: Place) -> openai.OpenAI:
    """The client of project "p"."""
    made = AIProjectClient(endpoint=f"{place.url}/api/projects/p", credential=Held(place.key))
    return made.get_openai_client(max_retries=place.retries)


class ChatAlone(Chat):
    """A project's own paths are chat and responses."""

    embed = models = None


if __name__ == "__main__":
    main({"chat": built(ChatAlone, project), "responses": built(Responses, project)})
