"""The root key in a file of its own, for one machine or a mounted secret.

ostiary-root-key 1
<version: 32 hex digits, derived from the key> <key: 64 hex digits>

The last line is the newest root; older ones stay until nothing is wrapped under them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ostiary.envelope import (
    KEY_ID_LENGTH,
    KEY_LENGTH,
    Context,
    DataKey,
    Purpose,
    Random,
    seal,
    unseal,
)
from ostiary.errors import ConfigurationError, IntegrityError
from ostiary.keyring import Wrapped
from ostiary.keystore import make_private_folder, require_private

_FORMAT: Final = "ostiary-root-key 1"
_LINE: Final = re.compile(r"([0-9a-f]{32}) ([0-9a-f]{64})", re.ASCII)
_VERSION: Final = b"ostiary/root/version/v1"
_SIZE_LIMIT: Final = 65_536


@dataclass(frozen=True, slots=True)
class Options:
    """Where the root key lies: absolute, or relative to the gateway's home."""

    path: str = "root.key"


def build(options: Options, *, home: Path, random: Random = os.urandom) -> FileVault:
    """Return the vault; no file is touched before the first use."""
    return FileVault(home / options.path, random=random)


class FileVault:
    """Wraps under a root key that is read from its file for each call and never kept."""

    provider = "file"

    def __init__(self, path: Path, *, random: Random = os.urandom) -> None:
        """Take the path of the root key; no file is touched before the first use."""
        self._path = path
        self._random = random

    async def wrap(self, key: bytes) -> Wrapped:
        """Wrap under the newest root; makes the file (0600, on disk, atomically) if none is there.

        Raises ConfigurationError for a file that others may read, IntegrityError for a damaged
        one.
        """
        if not os.access(self._path, os.F_OK):
            self._create()
        root = self._read()[-1]
        version = root.key_id.hex()
        blob = seal(key, root, Purpose.WRAPPED_KEY, _place(version), random=self._random)
        return Wrapped(version, blob)

    async def unwrap(self, version: str, blob: bytes) -> bytes:
        """Return what `wrap` took; IntegrityError for another root or changed bytes.

        Never makes the file: a missing one is a ConfigurationError.
        """
        for root in self._read():
            if root.key_id.hex() == version:
                return unseal(blob, root, Purpose.WRAPPED_KEY, _place(version))
        raise IntegrityError(f"the keystore was sealed under another root key than {self._path}")

    def _read(self) -> list[DataKey]:
        try:
            with self._path.open("rb") as file:
                require_private(self._path, os.fstat(file.fileno()).st_mode)
                content = file.read(_SIZE_LIMIT)
        except FileNotFoundError:
            raise ConfigurationError(
                f"{self._path} is missing: without the root key nothing can be decrypted;"
                " put it back from its backup"
            ) from None
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be read: {error.strerror}") from None
        return self._parse(content)

    def _parse(self, content: bytes) -> list[DataKey]:
        # Each version is derived from its key, so a changed digit of either is noticed here.
        first, *lines = content.decode("ascii", "replace").removesuffix("\n").split("\n")
        matches = [_LINE.fullmatch(line) for line in lines]
        roots = [_root(bytes.fromhex(match[2])) for match in matches if match]
        named = [match[1] for match in matches if match]
        if (
            first != _FORMAT
            or not roots
            or len(roots) != len(lines)
            or named != [root.key_id.hex() for root in roots]
        ):
            raise IntegrityError(f"{self._path} is damaged or not a root key")
        return roots

    def _create(self) -> None:
        """Make the file under another name and link it into place, whole or not at all."""
        make_private_folder(self._path.parent)
        root = _root(self._random(KEY_LENGTH))
        content = f"{_FORMAT}\n{root.key_id.hex()} {root.key.hex()}\n".encode()
        draft = self._path.with_name(f".{self._path.name}.{os.urandom(8).hex()}")
        try:
            _write(draft, content)
            # Unlike a rename, a link never replaces the root that another process just made.
            os.link(draft, self._path)
        except FileExistsError:
            return
        except OSError as error:
            raise ConfigurationError(
                f"{self._path} cannot be made: {error.strerror} (the folder's file system must"
                " have hard links)"
            ) from None
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(self._path.parent)


def _root(key: bytes) -> DataKey:
    return DataKey(HKDFExpand(SHA512(), KEY_ID_LENGTH, _VERSION).derive(key), key)


def _place(version: str) -> Context:
    return Context("root", "gateway", "epochs", "wrapped", version)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor is not a path
        os.fchmod(descriptor, 0o600)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
