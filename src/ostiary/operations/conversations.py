"""The caller's own conversations: list, read, delete. Foreign and unknown ones look the same."""

from __future__ import annotations

import base64
import binascii
import datetime
import struct
import uuid
from dataclasses import dataclass
from typing import Any

from ostiary.errors import MalformedRequest
from ostiary.exchange import Funded
from ostiary.pipeline import Done
from ostiary.ports import Missing, Store
from ostiary.rows import ConversationRow, DeleteConversation
from ostiary.stages.keep import Keeper, unknown_conversation
from ostiary.stages.ledger import Ledger

LAYER = "check"
DEFAULT_LIMIT, MOST = 20, 100
_CURSOR = struct.Struct(">d16s")


@dataclass(frozen=True, slots=True)
class Conversations:
    """The operations on conversations."""

    store: Store
    keeper: Keeper
    ledger: Ledger

    async def list(self, funded: Funded) -> Done:
        """`{data: [{id, createdAt, updatedAt, messages}], nextCursor}`, newest first."""
        query = funded.admitted.query
        limit = _limit(query.get("limit"))
        before = _read_cursor(query["cursor"]) if "cursor" in query else None
        rows = await self.store.conversations(
            funded.principal.person, limit=limit + 1, before=before
        )
        await self.ledger.commit(self.ledger.operation(funded.permitted))
        more = len(rows) > limit
        rows = rows[:limit]
        cursor = _cursor(rows[-1]) if more else None
        return Done({"data": [_summary(row) for row in rows], "nextCursor": cursor})

    async def read(self, funded: Funded) -> Done:
        """`{id, messages: [{id, role, content}]}`, decrypted, in order."""
        row = await self._own(funded)
        said = self.keeper.open(await self.store.messages(row.id))
        await self.ledger.commit(
            self.ledger.operation(
                funded.permitted,
                resource=row.id,
                fields={"kind": "data_access", "records": len(said)},
            )
        )
        messages = [{"id": m.id, "role": m.role, "content": m.content} for m in said]
        return Done({**_summary(row), "messages": messages})

    async def delete(self, funded: Funded) -> Done:
        """Delete the rows; 204."""
        row = await self._own(funded)
        record = self.ledger.operation(
            funded.permitted, resource=row.id, fields={"kind": "data_access", "status": 204}
        )
        try:
            await self.ledger.commit(DeleteConversation(row.id, row.person), record)
        except Missing as cause:
            raise unknown_conversation() from cause
        return Done(status=204)

    async def _own(self, funded: Funded) -> ConversationRow:
        identifier = funded.admitted.params["id"]
        require_uuid(identifier)
        row = await self.store.conversation(identifier)
        if row is None or row.person != funded.principal.person:
            raise unknown_conversation()
        return row


def require_uuid(text: str) -> None:
    """400 unless `text` is a UUID in its canonical form."""
    try:
        canonical = str(uuid.UUID(text)) == text.lower()
    except ValueError:
        canonical = False
    if not canonical:
        raise MalformedRequest("The id must be a UUID.", layer=LAYER, rule="id-form")


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1):
        raise MalformedRequest(
            "limit must be a positive integer.", layer=LAYER, rule="limit", param="limit"
        )
    return min(int(text), MOST)


def _cursor(row: ConversationRow) -> str:
    packed = _CURSOR.pack(row.updated, uuid.UUID(row.id).bytes)
    return base64.urlsafe_b64encode(packed).decode()


def _read_cursor(text: str) -> tuple[float, str]:
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        updated, identifier = _CURSOR.unpack(packed)
        rfc3339(updated)  # not a number, or out of any calendar: no page ended there
    except (ValueError, OverflowError, OSError, binascii.Error, struct.error) as cause:
        raise MalformedRequest(
            "cursor must be a nextCursor of an earlier page.",
            layer=LAYER,
            rule="cursor",
            param="cursor",
        ) from cause
    return updated, str(uuid.UUID(bytes=identifier))


def _summary(row: ConversationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "createdAt": rfc3339(row.created),
        "updatedAt": rfc3339(row.updated),
        "messageCount": row.messages,
    }


def rfc3339(seconds: float) -> str:
    """A time as RFC 3339 in UTC, to the second."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
