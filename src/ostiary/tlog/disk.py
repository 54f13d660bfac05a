"""The steps on the file system that a log is written with: few, durable, and easy to cut short.

Every step goes through this class, so that a test can stop or fail the n-th one.
"""

from __future__ import annotations

import os
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class Disk:
    """Steps on the real file system; each raises OSError. Modes hold whatever the umask is."""

    def write(self, path: Path, data: bytes) -> None:
        """Create or empty the file, write all of `data`, and return when it is on the medium.

        The name itself is durable only after `sync_folder` of its folder. A link is not followed.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path, flags, FILE_MODE)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(handle)

    def make_folder(self, path: Path) -> None:
        """Create one folder for this user alone; FileExistsError where it is there."""
        path.mkdir(FOLDER_MODE)
        path.chmod(FOLDER_MODE)

    def sync_folder(self, path: Path) -> None:
        """Return when the names in the folder are on the medium."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        """Give `source` the name `target` in one step, in place of what had it."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file if it is there."""
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder; OSError where it is not empty or not there."""
        path.rmdir()
