"""Every text of a decoded JSON tree, and the tree with some of them replaced.

Nothing in a request passes uninspected, so the walk yields every string, known field or not, and
every member's name. It does not recurse, and each container and text is visited once.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias

import msgspec

from ostiary.errors import OstiaryError
from ostiary.wire.strict_json import JSON

Key: TypeAlias = str | int
Path: TypeAlias = tuple[Key, ...]

_ROOT_KEY: Final = 0


class KeyCollision(OstiaryError):
    """After replacement an object would have two members of one name; quotes neither."""


class Node(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A dict or list of the tree and the way to it. The root's container is `[tree]`."""

    container: JSON
    parent: Node | None
    key: Key
    depth: int

    def __repr__(self) -> str:
        return f"Node(depth={self.depth})"


class Place(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Where one text is: `text` is the value at `key` of `node`, or, if `is_key`, `key` itself."""

    node: Node
    key: Key
    text: str
    is_key: bool

    def __repr__(self) -> str:
        return f"Place({len(self.text)} characters, is_key={self.is_key})"

    @property
    def path(self) -> Path:
        """Names and indices from the root to the value. Names may be user text: not for logs."""
        keys = [self.key]
        node = self.node
        while node.parent is not None:
            keys.append(node.key)
            node = node.parent
        return tuple(reversed(keys[:-1]))


def strings(tree: JSON, *, known_names: AbstractSet[str] = frozenset()) -> list[Place]:
    """A place for every string value and every member name of `tree`.

    Names in `known_names` are left out: a name that equals a word of the protocol says nothing
    that its writer chose. Their values are not left out.

    The order is fixed by the tree: a container's own names and strings come first, in its order,
    then those of the containers within it, one after the other. Linear.
    """
    places: list[Place] = []
    found, place_at = places.append, Place
    stack = [Node([tree], None, _ROOT_KEY, 0)]
    while stack:
        node = stack.pop()
        container = node.container
        depth = node.depth + 1
        inner: list[Node] = []
        if type(container) is dict:
            for key, value in container.items():
                if key not in known_names:
                    found(place_at(node, key, key, True))
                kind = type(value)
                if kind is str:
                    found(place_at(node, key, value, False))
                elif kind is dict or kind is list:
                    inner.append(Node(value, node, key, depth))
        else:
            for index, value in enumerate(container):
                kind = type(value)
                if kind is str:
                    found(place_at(node, index, value, False))
                elif kind is dict or kind is list:
                    inner.append(Node(value, node, index, depth))
        if inner:
            inner.reverse()
            stack += inner
    return places


def replace(tree: JSON, edits: Iterable[tuple[Place, str]]) -> JSON:
    """`tree` with the text at each place replaced; the places are those of `strings(tree)`.

    `tree` itself is unchanged and shares every branch without an edit with the result; without
    edits the result is `tree`. Members keep their order. Of two edits of one place the later
    counts. Raises KeyCollision where two members of an object would end with one name, and
    ValueError for a place of another tree.
    """
    values: dict[Node, dict[Key, JSON]] = {}
    names: dict[Node, dict[Key, str]] = {}
    by_depth: dict[int, dict[Node, None]] = {}

    for place, text in edits:
        kind = names if place.is_key else values
        kind.setdefault(place.node, {})[place.key] = text
        by_depth.setdefault(place.node.depth, {})[place.node] = None
    if not by_depth:
        return tree

    # Deepest first, so that each container is copied once, with its changed children in place.
    for depth in range(max(by_depth), 0, -1):
        for node in by_depth.get(depth, ()):
            if node.parent is None:
                continue
            copy = _copy(node.container, values.get(node, {}), names.get(node, {}))
            values.setdefault(node.parent, {})[node.key] = copy
            by_depth.setdefault(depth - 1, {})[node.parent] = None

    (root,) = by_depth[0]
    if len(by_depth[0]) != 1 or root.container[_ROOT_KEY] is not tree:
        raise ValueError("a place belongs to another tree")
    return values[root][_ROOT_KEY]


def _copy(container: JSON, values: dict[Key, JSON], names: dict[Key, str]) -> JSON:
    """A copy of one container with some values and names changed."""
    copy = container.copy()
    for key, value in values.items():
        copy[key] = value
    if not names:
        return copy
    renamed = {names.get(key, key): value for key, value in copy.items()}
    if len(renamed) != len(copy):
        raise KeyCollision("two members of an object would have the same name")
    return renamed
