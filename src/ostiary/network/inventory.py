"""A file → one set of resources, whichever way they were written.

An ARM template (list or symbolic names, children nested, apart or inline), or what Azure's REST API
returns: an array, or `{"value": […]}`. Names of members and resources compare without case, as
Azure compares them. Later copies of one resource replace earlier ones; what stands apart from its
parent (a subnet, a security rule) completes what stands inside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ostiary.errors import ConfigurationError
from ostiary.network.expressions import HERE, Scope
from ostiary.wire.strict_json import StrictJSONError, decode

_INLINE: Final = {
    "microsoft.network/virtualnetworks": ("subnets",),
    "microsoft.network/networksecuritygroups": ("securityrules",),
}
_DEPLOYMENT: Final = "microsoft.resources/deployments"


@dataclass(frozen=True, slots=True)
class Found:
    """One resource. `type`, `id` and the names of members are in lower case.

    `label` is the type and name as written, for people. `scope` is the id of what an extension
    (role assignment, diagnostic setting) is attached to, "" for everything else.
    """

    type: str
    id: str
    label: str
    body: Mapping[str, Any] = field(repr=False)
    scope: str = ""

    @property
    def name(self) -> str:
        """The last part of its name, in lower case."""
        return self.id.rpartition("/")[2]

    @property
    def title(self) -> str:
        """The last part of its name, as written."""
        return self.label.rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The id of the resource that this one is a child of."""
        return self.id.rsplit("/", 2)[0]

    def get(self, *path: str) -> Any:
        """A member of `properties`, or None where it or a table on the way is missing."""
        return member(self.body, "properties", *path)

    def all(self, *path: str) -> list[Any]:
        """A list among `properties`; [] where it is missing or no list."""
        value = self.get(*path)
        return value if isinstance(value, list) else []


def member(value: Any, *path: str) -> Any:
    """What lies at a path of members, or None."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name.lower())
    return value


def reference(value: Any) -> str:
    """An id in the form in which ids compare; "" for what is none."""
    return value.strip().rstrip("/").lower() if isinstance(value, str) else ""


def type_of(id_: str) -> str:
    """The type in an id: everything behind the last provider, names left out."""
    parts = id_.rpartition("/providers/")[2].split("/")
    return "/".join([parts[0], *parts[1::2]])


class Inventory:
    """All resources of a file."""

    def __init__(self, resources: list[Found]) -> None:
        apart: dict[str, Found] = {}
        for item in resources:
            apart[item.id] = item
        self._by_id = dict(apart)
        for parent in apart.values():
            for child in _inside(parent):
                known = apart.get(child.id)
                self._by_id[child.id] = _completed(child, known) if known else child

    def __contains__(self, id_: str) -> bool:
        return id_ in self._by_id

    def find(self, id_: str) -> Found | None:
        """The resource with this id, if the file holds it."""
        return self._by_id.get(id_)

    def of(self, *types: str) -> Iterator[Found]:
        """Every resource of these types, in the file's order."""
        wanted = {kind.lower() for kind in types}
        return (item for item in self._by_id.values() if item.type in wanted)

    def children(self, parent: Found, kind: str) -> list[Found]:
        """The children of one kind, such as `databases`."""
        return [item for item in self.of(f"{parent.type}/{kind}") if item.parent == parent.id]


def read_inventory(data: bytes) -> Inventory:
    """Read a template or an answer of the REST API.

    Raise ConfigurationError where the bytes are no JSON, or hold no resources in either form.
    """
    try:
        tree = _lowered(decode(data.removeprefix(b"\xef\xbb\xbf")))
    except StrictJSONError as error:
        raise ConfigurationError(f"The file is not JSON that can be read ({error}).") from None
    if isinstance(tree, dict) and isinstance(tree.get("value"), list):
        tree = tree["value"]
    if isinstance(tree, list):
        found = [item for number, entry in enumerate(tree) for item in _answer(entry, number)]
    elif isinstance(tree, dict) and isinstance(tree.get("resources"), list | dict):
        found = list(_template(tree))
    else:
        raise ConfigurationError("The file is neither an ARM template nor a list of resources.")
    if not found:
        raise ConfigurationError("The file holds no resources.")
    return Inventory(found)


def _answer(entry: Any, number: int) -> Iterator[Found]:
    """A resource as the REST API returns it: its id says all. Resource groups are no resources."""
    if not isinstance(entry, dict):
        raise ConfigurationError("The list holds something that is no resource.")
    id_ = member(entry, "id")
    if not isinstance(id_, str):
        yield from _written(entry, Scope(), "", "", number)
        return
    written = id_.strip().rstrip("/")
    scope, marker, tail = written.rpartition("/providers/")
    if not marker:
        return
    parts = tail.split("/")
    kind = "/".join([parts[0], *parts[1::2]])
    extends = "/providers/" in scope or kind.lower().startswith(_EXTENSIONS)
    label = f"{kind}/{'/'.join(parts[2::2])}"
    yield Found(kind.lower(), written.lower(), label, entry, scope.lower() if extends else "")


_EXTENSIONS: Final = ("microsoft.authorization/", "microsoft.insights/diagnosticsettings")


def _template(tree: Mapping[str, Any]) -> Iterator[Found]:
    parameters = {
        name: entry["defaultvalue"]
        for name, entry in _table(tree.get("parameters")).items()
        if isinstance(entry, dict) and "defaultvalue" in entry
    }
    scope = Scope(parameters, _table(tree.get("variables")))
    yield from _resources(tree.get("resources"), scope, "", "")


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _resources(listed: Any, scope: Scope, kind: str, name: str) -> Iterator[Found]:
    entries = list(listed.values()) if isinstance(listed, dict) else listed or []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ConfigurationError("The template holds something that is no resource.")
        yield from _written(entry, scope, kind, name, number)


def _written(
    entry: Mapping[str, Any], scope: Scope, above: str, parent: str, number: int
) -> Iterator[Found]:
    """A resource of a template, then the resources inside it."""
    inner = entry.get("resources")
    body = {key: value for key, value in entry.items() if key != "resources"}
    if str(entry.get("type", "")).lower() == _DEPLOYMENT:
        nested = _table(_table(entry.get("properties")).get("template"))
        yield from _template(nested)
        return
    body = scope.resolve(body)
    kind, name = body.get("type"), body.get("name")
    if not isinstance(kind, str):
        raise ConfigurationError("The template holds a resource without a type.")
    if not isinstance(name, str) or not name:
        name = f"({number})"
    if above and not kind.lower().startswith(above.lower() + "/"):
        kind, name = f"{above}/{kind}", f"{parent}/{name}"
    yield _located(kind, name, body)
    yield from _resources(inner, scope, kind, name)


def _located(kind: str, name: str, body: Mapping[str, Any]) -> Found:
    """Place a resource by type and name; extensions by their scope, in both ways to write it."""
    scope = reference(member(body, "scope"))
    if "/providers/" in kind.lower():
        # The older way: type A/b/providers/d, name x/C/y means C/d y at A/b x.
        target, _, extension = kind.partition("/providers/")
        *names, provider, last = name.split("/")
        scope = _id_of(target, "/".join(names))
        kind, name = f"{provider}/{extension}", last
    id_ = _id_of(kind, name)
    if scope:
        id_ = f"{scope}/providers/{id_.rpartition('/providers/')[2]}"
    elif kind.lower().startswith(_EXTENSIONS):
        scope = HERE.lower()
    return Found(kind.lower(), id_, f"{kind}/{name}", body, scope)


def _id_of(kind: str, name: str) -> str:
    provider, *kinds = kind.split("/")
    names = name.split("/")
    if len(kinds) == len(names):
        levels = "".join(f"/{one}/{other}" for one, other in zip(kinds, names, strict=True))
    else:  # the name is one text that only a deployment can take apart
        levels = f"/{'/'.join(kinds)}/{name}"
    return f"{HERE}/providers/{provider}{levels}".lower()


def _lowered(value: Any) -> Any:
    """A tree whose members are named in lower case, so that none is missed by its spelling."""
    if isinstance(value, dict):
        return {key.lower(): _lowered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lowered(item) for item in value]
    return value


def _inside(parent: Found) -> Iterator[Found]:
    """The children that a parent holds in its properties."""
    seen: set[str] = set()
    for kind in _INLINE.get(parent.type, ()):
        for number, entry in enumerate(parent.all(kind)):
            name = member(entry, "name")
            if isinstance(entry, Mapping):
                shown = name if isinstance(name, str) else f"({number})"
                id_ = f"{parent.id}/{kind}/{shown}".lower()
                # A name given twice hides nothing: rules see both.
                unique = f"{id_}#{number}" if id_ in seen else id_
                seen.add(id_)
                yield Found(
                    f"{parent.type}/{kind}",
                    unique,
                    f"{parent.label}/{shown}",
                    entry,
                )


def _completed(inside: Found, apart: Found) -> Found:
    """What stands apart, with what only the parent says."""
    properties = {
        **_table(inside.body.get("properties")),
        **_table(apart.body.get("properties")),
    }
    body = {**inside.body, **apart.body, "properties": properties}
    return Found(apart.type, apart.id, apart.label, body, apart.scope)


def shown(value: Any) -> str:
    """A value as a reason names it: short, and never a whole document."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | Mapping):
        return "not as wanted"
    return str(value)[:60]
