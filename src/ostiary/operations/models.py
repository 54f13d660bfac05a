"""The configured models, as OpenAI lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostiary.errors import NotFound
from ostiary.exchange import Funded
from ostiary.pipeline import Done
from ostiary.stages.forward import Model
from ostiary.stages.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Models:
    """The operations on models."""

    models: Mapping[str, Model]
    ledger: Ledger

    async def list(self, funded: Funded) -> Done:
        """`{object: "list", data: [{id, object, created, owned_by}]}`."""
        await self.ledger.commit(self.ledger.operation(funded.permitted))
        return Done({"object": "list", "data": [_described(m) for m in self.models.values()]})

    async def read(self, funded: Funded) -> Done:
        """One model, or 404."""
        model = self.models.get(funded.admitted.params["id"])
        if model is None:
            raise NotFound(
                "There is no such model; GET /v1/models lists those that there are.",
                layer="check",
                rule="model",
                code="model_not_found",
                param="model",
            )
        await self.ledger.commit(self.ledger.operation(funded.permitted))
        return Done(_described(model))


def _described(model: Model) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": 0, "owned_by": model.provider.name}
