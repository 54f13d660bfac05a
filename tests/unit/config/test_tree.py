"""The effective settings: their hash, what may be shown of them, and the schema of their file."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from ostiary.config import json_schema
from tests.unit.config.loaded import KINDS, Folder

WHOLE = """
[server]
host = "localhost"
port = 8000
trusted_proxies = ["10.0.0.0/8"]
[identity]
tenants = ["6F6B0F0E-6A1C-4D3E-9C3A-0D0F7A1F2B3C"]
audiences = ["api://ostiary"]
[providers.main]
kind = "openai"
base_url = "https://api.example.com/v1/"
api_key = "sk-hidden"
timeout_seconds = 30
[models.gpt-4o]
provider = "main"
[policy]
mode = "observe"
kinds = { Email_Address = "mask" }
[roles.Helper]
permissions = ["ai.chat.use"]
"""


def test_the_settings_cannot_be_changed(folder: Folder) -> None:
    settings = folder.load()
    with pytest.raises(AttributeError):
        settings.server.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.models["x"] = settings.models["gpt-4o"]  # type: ignore[index]


def test_nothing_shows_a_secret(folder: Folder) -> None:
    settings = folder.load(WHOLE)
    assert settings.redacted()["providers"]["main"]["api_key"] == "***"
    assert "hidden" not in json.dumps(settings.redacted()) + repr(settings)


def test_the_hash_is_lower_case_hex(folder: Folder) -> None:
    assert re.fullmatch("[0-9a-f]{64}", folder.load().hash)


def test_same_settings_have_the_same_hash_whatever_the_source(folder: Folder) -> None:
    expected = folder.load("[server]\nport = 1\n[limits]\nfailed_logins = 9").hash
    assert folder.load("limits.failed_logins = 9\nserver.port = 1").hash == expected
    environ = {"OSTIARY_SERVER__PORT": "1", "OSTIARY_LIMITS__FAILED_LOGINS": "9"}
    assert folder.load("", environ).hash == expected
    assert folder.load("", {}, {"server.port": 1, "limits.failed_logins": 9}).hash == expected
    assert folder.load().hash != expected


def test_a_written_default_changes_no_hash(folder: Folder) -> None:
    assert folder.load("[server]\nport = 8787").hash == folder.load().hash


def test_spelling_changes_no_hash(folder: Folder) -> None:
    other = WHOLE.replace("6F6B0F0E", "6f6b0f0e").replace("/v1/", "/v1").replace("= 30", "= 30.0")
    assert folder.load(other).hash == folder.load(WHOLE).hash


def test_a_secret_is_not_in_the_hash(folder: Folder) -> None:
    assert folder.load(WHOLE.replace("sk-hidden", "sk-other")).hash == folder.load(WHOLE).hash


def test_the_home_is_not_in_the_hash(folder: Folder) -> None:
    assert folder.load("", {"OSTIARY_HOME": "elsewhere"}).hash == folder.load().hash


def refused(schema: dict[str, Any], document: dict[str, Any]) -> bool:
    return bool(list(jsonschema.Draft202012Validator(schema).iter_errors(document)))


@pytest.fixture
def schema() -> dict[str, Any]:
    return json_schema(known_kinds=KINDS)


def test_the_schema_is_a_schema(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_table_refuses_unknown_keys(schema: dict[str, Any]) -> None:
    assert all(table.get("additionalProperties") is False for table in _tables(schema))


def _tables(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [table for table in schema["$defs"].values() if table.get("type") == "object"]


def test_the_schema_accepts_effective_settings(folder: Folder, schema: dict[str, Any]) -> None:
    assert not refused(schema, {})
    assert not refused(schema, folder.load().redacted())
    assert not refused(schema, folder.load(WHOLE).redacted())


def test_the_schema_accepts_kinds_in_any_case(schema: dict[str, Any]) -> None:
    assert not refused(schema, {"policy": {"kinds": {"Email_Address": "mask"}}})
    assert refused(schema, {"policy": {"kinds": {"email": "mask"}}})


@pytest.mark.parametrize(
    "document",
    [
        {"sever": {}},
        {"server": {"prot": 1}},
        {"server": {"port": "1"}},
        {"server": {"hosts": []}},
        {"providers": {"main": {}}},
        {"providers": {"main": {"kind": "openai", "key": "x"}}},
        {"providers": {"main": {"kind": "openai", "api_key": None}}},
        {"models": {"m": {}}},
        {"limits": {"failed_logins": 0}},
        {"policy": {"kinds": {"iban": "drop"}}},
        {"home": "x"},
    ],
)
def test_the_schema_refuses_what_loading_refuses(
    schema: dict[str, Any], document: dict[str, Any]
) -> None:
    assert refused(schema, document)
