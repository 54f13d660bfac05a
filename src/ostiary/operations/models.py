"""The configured models, as OpenAI lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostiary.exchange import Funded
from ostiary.pipeline import Done
from ostiary.stages.check import unknown_model
from ostiary.stages.forward import Model
from ostiary.stages.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Models:
    """The operations on models."""

    models: Mapping[str, Model]
    ledger: Ledger
    default_model: str

    async def list(self, funded: Funded) -> Done:
        """`{object: "list", data: [{id, object, created, owned_by}]}`."""
        await self.ledger.commit(self.ledger.operation(funded.permitted))
        return Done({"object": "list", "data": [_described(m) for m in self.models.values()]})

    async def read(self, funded: Funded) -> Done:
        """One model, or 404."""
        model = self.models.get(funded.admitted.params["id"])
        if model is None:
            raise unknown_model()
        await self.ledger.commit(self.ledger.operation(funded.permitted))
        return Done(_described(model))

    async def info(self, funded: Funded) -> Done:
        """Azure AI inference's `{model_name, model_type, model_provider_name}`.

        Of the deployment that the path names, else of the model that a request without one gets.
        """
        name = funded.admitted.params.get("deployment", self.default_model)
        model = self.models.get(name)
        if model is None:
            raise unknown_model()
        await self.ledger.commit(self.ledger.operation(funded.permitted))
        return Done(
            {
                "model_name": model.name,
                "model_type": "chat-completion",
                "model_provider_name": model.provider.name,
            }
        )


def _described(model: Model) -> dict[str, Any]:
    return {"id": model.name, "object": "model", "created": 0, "owned_by": model.provider.name}
