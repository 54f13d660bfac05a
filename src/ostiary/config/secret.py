"""Secrets among the settings: held so that no print, log or traceback can show them."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

HIDDEN: Final = "***"
_CHECK_SECONDS: Final = 1.0
_MOST_BYTES: Final = 64 * 1024


class Secret:
    """One secret text. Only `reveal` gives it; `repr`, `str` and `format` give `***`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Hold `value`; raise ValueError unless it is non-empty printable ASCII without spaces.

        Nothing else can be sent in an HTTP header field as it stands.
        """
        if not value or not all("!" <= character <= "~" for character in value):
            raise ValueError("a non-empty text of printable ASCII without spaces")
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def current(self) -> Secret:
        """Itself: a secret that was given as a value never changes (see `SecretFile`)."""
        return self

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]


class SecretFile:
    """A secret that lies in a file and may be rotated there while the gateway runs.

    `path` is the path as configured; a relative one is taken from `folder`. `clock` counts
    seconds and never goes back.
    """

    __slots__ = ("_clock", "_file", "_looked", "_secret", "_seen", "path")

    def __init__(
        self, path: str, *, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the file; raise OSError where that fails, ValueError where it holds no secret."""
        self.path = path
        self._file = folder / path
        self._clock = clock
        self._looked = clock()
        self._seen = self._state()
        self._secret = self._read()

    def current(self) -> Secret:
        """The file's secret, at most one second old while somebody asks.

        A file that is missing, unreadable or half written leaves the former secret in use, and
        is looked at again a second later: a rotation must never open a gap.
        """
        now = self._clock()
        if now - self._looked >= _CHECK_SECONDS:
            self._looked = now
            try:
                state = self._state()
                if state != self._seen:
                    self._secret = self._read()
                    self._seen = state
            except (OSError, ValueError):
                return self._secret
        return self._secret

    def _state(self) -> tuple[int, ...]:
        # Taken before the content is read, so a write in between is seen at the next look.
        found = self._file.stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self) -> Secret:
        with self._file.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError("a file of at most 64 KiB")
        return Secret(content.decode("utf-8").rstrip("\r\n"))

    def __repr__(self) -> str:
        return HIDDEN
