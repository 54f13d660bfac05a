"""Clients that sign in with msal and azure-identity, and carry the tokens that these get."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import msal
import openai
from azure.ai.inference import ChatCompletionsClient
from azure.ai.inference.models import UserMessage
from azure.ai.projects import AIProjectClient
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential, DefaultAzureCredential, get_bearer_token_provider
from langchain_openai import AzureChatOpenAI

VERSION = "2024-10-21"
QUESTION: Any = [{"role": "user", "content": "hi"}]
ERRORS = (openai.APIStatusError, HttpResponseError)

Ask = Callable[[str, Any, str, str], str]


def _said(client: openai.OpenAI, model: str) -> str:
    done = client.chat.completions.create(model=model, messages=QUESTION)
    return done.choices[0].message.content or ""


def azure_openai(url: str, credential: Any, scope: str, model: str) -> str:
    """Azure's client, whose tokens a provider brings."""
    client = openai.AzureOpenAI(
        azure_endpoint=url,
        azure_ad_token_provider=get_bearer_token_provider(credential, scope),
        api_version=VERSION,
        max_retries=0,
    )
    return _said(client, model)


def openai_plain(url: str, credential: Any, scope: str, model: str) -> str:
    """OpenAI's client, whose key is a function."""
    provider = get_bearer_token_provider(credential, scope)
    return _said(openai.OpenAI(base_url=f"{url}/v1", api_key=provider, max_retries=0), model)


def langchain(url: str, credential: Any, scope: str, model: str) -> str:
    """langchain's client of Azure."""
    client = AzureChatOpenAI(
        azure_endpoint=url,
        azure_deployment=model,
        azure_ad_token_provider=get_bearer_token_provider(credential, scope),
        api_version=VERSION,
        max_retries=0,
    )
    return client.invoke("hi").text


def projects(url: str, credential: Any, scope: str, model: str) -> str:
    """The OpenAI client of a project; left alone it would ask for a token for Microsoft's API."""
    project = AIProjectClient(endpoint=f"{url}/api/projects/p", credential=credential)
    provider = get_bearer_token_provider(credential, scope)
    return _said(project.get_openai_client(api_key=provider, max_retries=0), model)


def projects_alone(url: str, credential: Any, scope: str, model: str) -> str:
    """The same, left alone: whatever the scope, its token is for Microsoft's API."""
    project = AIProjectClient(endpoint=f"{url}/api/projects/p", credential=credential)
    return _said(project.get_openai_client(max_retries=0), model)


def inference(url: str, credential: Any, scope: str, model: str) -> str:
    """The client of the models endpoint."""
    client = ChatCompletionsClient(
        endpoint=f"{url}/models",
        credential=credential,
        credential_scopes=[scope],
        model=model,
        retry_total=0,
    )
    return client.complete(messages=[UserMessage(content="hi")]).choices[0].message.content


WAYS: dict[str, Ask] = {
    "AzureOpenAI": azure_openai,
    "OpenAI": openai_plain,
    "langchain": langchain,
    "projects": projects,
    "inference": inference,
}


def secret(given: dict[str, Any], application: str, tenant: str) -> ClientSecretCredential:
    """A credential of azure-identity."""
    return ClientSecretCredential(
        tenant,
        given[application],
        given["secret"],
        authority=given["authority"],
        disable_instance_discovery=True,
    )


def from_environment(given: dict[str, Any]) -> DefaultAzureCredential:
    """The default credential of azure-identity, told by the environment who it is."""
    os.environ["AZURE_AUTHORITY_HOST"] = given["authority"]
    os.environ["AZURE_TENANT_ID"] = given["tenant"]
    os.environ["AZURE_CLIENT_ID"] = given["application"]
    os.environ["AZURE_CLIENT_SECRET"] = given["secret"]
    os.environ["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"
    return DefaultAzureCredential(disable_instance_discovery=True)


def by_msal(given: dict[str, Any]) -> str:
    """A chat with a token that msal got."""
    application = msal.ConfidentialClientApplication(
        given["application"],
        client_credential=given["secret"],
        authority=f"{given['authority']}/{given['tenant']}",
        instance_discovery=False,
        validate_authority=False,
        verify=given["trust"],
    )
    got = application.acquire_token_for_client([given["scope"]])
    client = openai.AzureOpenAI(
        azure_endpoint=given["url"],
        azure_ad_token=got["access_token"],
        api_version=VERSION,
        max_retries=0,
    )
    return _said(client, given["model"])


def told(ask: Callable[[], str]) -> dict[str, Any]:
    """What was said, or the error of the client."""
    try:
        return {"said": ask()}
    except ERRORS as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"types": kinds, "status": error.status_code, "message": str(error)}


def main() -> None:
    """Every way to ask with every credential, good and bad."""
    given = json.load(sys.stdin)
    good, scope = secret(given, "application", given["tenant"]), given["scope"]
    credentials = {
        "good": (good, scope),
        "environment": (from_environment(given), scope),
        "audience": (good, "https://cognitiveservices.azure.com/.default"),
        "expired": (secret(given, "expired", given["tenant"]), scope),
        "tenant": (secret(given, "application", given["foreign"]), scope),
    }
    results: dict[str, Any] = {"msal": {"good": told(lambda: by_msal(given))}}
    for name, ask in WAYS.items():
        results[name] = {
            case: told(lambda ask=ask, c=c, s=s: ask(given["url"], c, s, given["model"]))
            for case, (c, s) in credentials.items()
        }
    alone = told(lambda: projects_alone(given["url"], good, scope, given["model"]))
    results["projects alone"] = {"good": alone}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
