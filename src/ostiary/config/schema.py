"""The JSON Schema of the configuration file, for editors and for checks before a roll-out."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ostiary.config.decode import text_schema
from ostiary.config.tree import Sections

# Defaults that follow from other settings; a schema cannot say so.
_COMPUTED = (("Identity", "development"), ("Model", "upstream_name"))


def json_schema(*, known_kinds: frozenset[str]) -> dict[str, Any]:
    """JSON Schema (2020-12) that accepts what `load` accepts in form and refuses unknown keys.

    What settings must be together (`config/rules.py`) and the inner form of texts stay `load`'s.
    """
    built = msgspec.json.schema(Sections, schema_hook=text_schema)
    schema: dict[str, Any] = json.loads(json.dumps(built))
    tables = schema["$defs"]
    for table, key in _COMPUTED:
        del tables[table]["properties"][key]["default"]
    for section in tables["Sections"]["properties"].values():
        section.pop("default", None)
    for table in tables.values():
        for member in table.get("properties", {}).values():
            _accept_set_values(member)
    # Exactly one way to say who serves a model.
    tables["Model"]["oneOf"] = [{"required": ["provider"]}, {"required": ["providers"]}]
    kinds = tables["Policy"]["properties"]["kinds"]
    action = kinds.pop("additionalProperties")
    kinds["properties"] = dict.fromkeys(sorted(known_kinds), action)
    kinds["patternProperties"] = {_caseless(kind): action for kind in sorted(known_kinds)}
    kinds["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ostiary.toml",
        **schema,
    }


def _accept_set_values(member: dict[str, Any]) -> None:
    """TOML has no null: an optional key is absent or has a value."""
    choices = [item for item in member.get("anyOf", ()) if item != {"type": "null"}]
    if choices:
        del member["anyOf"]
        member.update(choices[0])
        member.pop("default", None)


def _caseless(name: str) -> str:
    """A pattern for this name in any case; JSON Schema's patterns have no flag for it."""
    letters = (f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in name)
    return f"^{''.join(letters)}$"
