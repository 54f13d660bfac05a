"""The state of the gateway, opened for one command, beside a running server or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ostiary.assemble import Foundation
    from ostiary.config import Settings
    from ostiary.exchange import Subject

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]


@contextmanager
def at_home(found: Settings, *, create: bool = False) -> Iterator[tuple[Run[Any], Foundation]]:
    """The opened foundation, and what runs coroutines on its loop.

    UnavailableError where there is no state and `create` does not allow to begin it.
    """
    import os

    from ostiary.assemble import lay
    from ostiary.errors import UnavailableError

    os.umask(0o077)
    if not create and not (found.home / "ostiary.db").exists():
        raise UnavailableError(
            f"There is no state in {found.home}; OSTIARY_HOME names another folder, "
            "and `ostiary serve` begins one."
        )
    with asyncio.Runner() as runner:
        foundation = runner.run(lay(found))
        try:
            yield runner.run, foundation
        finally:
            runner.run(foundation.close())


def subject_of(foundation: Foundation, user: str) -> Subject:
    """Whom `--user` means: in development a name, else an object id, or TENANT/OBJECT-ID."""
    from ostiary.authenticators.entra import is_guid
    from ostiary.errors import ConfigurationError
    from ostiary.exchange import Subject

    if foundation.issuer is not None:
        return foundation.issuer.subject(user)
    tenants = foundation.settings.identity.tenants
    tenant, slash, object_id = user.rpartition("/")
    if not slash:
        tenant = tenants[0] if len(tenants) == 1 else ""
    if tenant.lower() not in {known.lower() for known in tenants} or not is_guid(object_id):
        raise ConfigurationError(
            "--user: give the person's object id, with several tenants TENANT/OBJECT-ID"
        )
    return Subject(tenant, object_id)
