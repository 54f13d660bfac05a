"""The files of a home: who else could open them, and closing them."""

from __future__ import annotations

import stat
from pathlib import Path

from ostiary.config import Settings


def loose(home: Path) -> list[Path]:
    """The home and what is in it that others could open."""
    if not home.is_dir():
        return []
    paths = [home, *sorted(home.rglob("*"))]
    return [p for p in paths if not p.is_symlink() and stat.S_IMODE(p.lstat().st_mode) & 0o077]


def repair(settings: Settings) -> tuple[str, ...]:
    """Close the files of the home to others (0700, 0600); gives the names of what was changed."""
    changed = []
    for path in loose(settings.home):
        path.chmod(0o700 if path.is_dir() else 0o600)
        changed.append(str(path.relative_to(settings.home.parent)))
    return tuple(changed)
