"""What an open folder holds, read from its file names: nothing is registered, nothing imported."""

from __future__ import annotations

from importlib.resources import files


def part_names(folder_package: str) -> list[str]:
    """The names of the parts in a package folder, sorted; empty where there is no such folder.

    A part is a module or a package whose name does not begin with an underscore. Of the folder
    only its own `__init__` is imported, never a part.
    """
    try:
        folder = files(folder_package)
    except ModuleNotFoundError:
        return []
    names = set()
    for entry in folder.iterdir():
        if entry.name.startswith(("_", ".")):
            continue
        if entry.is_file() and entry.name.endswith(".py"):
            names.add(entry.name.removesuffix(".py"))
        elif entry.is_dir() and entry.joinpath("__init__.py").is_file():
            names.add(entry.name)
    return sorted(names)
