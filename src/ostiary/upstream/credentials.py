"""What proves to a provider who asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Credential(Protocol):
    """A credential that may change while the gateway runs."""

    async def current(self) -> str | None:
        """What is to be sent now, None for nothing; raises ServiceUnavailable (layer "forward")."""
        ...

    def rejected(self, sent: str, challenge: str) -> bool:
        """Note that the provider answered 401; whether `current` may now give another one.

        `challenge` is the WWW-Authenticate of that answer.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Key:
    """A key that is read anew at each call, so that a rotated one is used at once."""

    def __init__(self, secret: Callable[[], str | None]) -> None:
        """`secret` gives the key that holds now, or None."""
        self._secret = secret

    async def current(self) -> str | None:
        """The key that holds now."""
        return self._secret()

    def rejected(self, sent: str, challenge: str) -> bool:
        """Whether the key was rotated while the rejected one was on its way."""
        del challenge
        return self._secret() not in (None, sent)

    async def close(self) -> None:
        """Nothing to release."""
