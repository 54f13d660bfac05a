"""How many tokens a text may have, where nobody has counted them."""

from __future__ import annotations

from typing import Any

_CHARACTERS_PER_TOKEN = 4


def estimate(tree: Any) -> int:
    """A quarter of the characters of every string value in a JSON tree, at least one."""
    characters, rest = 0, [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, str):
            characters += len(node)
        elif isinstance(node, dict):
            rest.extend(node.values())
        elif isinstance(node, list):
            rest.extend(node)
    return max(1, characters // _CHARACTERS_PER_TOKEN)
