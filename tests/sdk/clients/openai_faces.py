"""Faces over a client of the openai package, however that client was built."""

from __future__ import annotations

import json
from typing import Any

import openai
from scenario import TOOL, Face, Place, Turns


class Chat(Face):
    """chat.completions of `client`, which a subclass builds."""

    errors = (openai.APIStatusError,)
    client: openai.OpenAI

    def _create(self, messages: Any, **more: Any) -> Any:
        return self.client.chat.completions.create(
            model=self.place.model, messages=messages, **more
        )

    def ask(self, turns: Turns) -> str:
        done = self._create([{"role": role, "content": text} for role, text in turns])
        return done.choices[0].message.content

    def stream(self, turns: Turns) -> list[str]:
        made = self._create([{"role": r, "content": text} for r, text in turns], stream=True)
        choices = [choice for chunk in made for choice in chunk.choices]
        return [choice.delta.content for choice in choices if choice.delta.content]

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        tools = [{"type": "function", "function": TOOL}]
        messages: list[Any] = [{"role": "user", "content": question}]
        message = self._create(messages, tools=tools).choices[0].message
        (call,) = message.tool_calls
        messages.append(message)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        done = self._create(messages, tools=tools)
        return {
            "name": call.function.name,
            "arguments": json.loads(call.function.arguments),
            "said": done.choices[0].message.content,
        }

    def embed(self, texts: list[str]) -> list[list[float]]:
        made = self.client.embeddings.create(model=self.place.embedding_model, input=texts)
        return [row.embedding for row in made.data]

    def models(self) -> list[str]:
        return [model.id for model in self.client.models.list()]


class Responses(Face):
    """responses of `client`, which a subclass builds."""

    errors = (openai.APIStatusError,)
    client: openai.OpenAI

    def _create(self, turns: Any, **more: Any) -> Any:
        return self.client.responses.create(model=self.place.model, input=turns, **more)

    def ask(self, turns: Turns) -> str:
        return self._create([{"role": role, "content": text} for role, text in turns]).output_text

    def stream(self, turns: Turns) -> list[str]:
        made = self._create([{"role": r, "content": text} for r, text in turns], stream=True)
        events = list(made)
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == "".join(pieces)
        return pieces

    def use_tool(self, question: str, result: str) -> dict[str, Any]:
        tools = [{"type": "function", **TOOL, "strict": False}]
        turns: list[Any] = [{"role": "user", "content": question}]
        (call,) = self._create(turns, tools=tools).output
        turns.append(call)
        turns.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
        done = self._create(turns, tools=tools)
        return {
            "name": call.name,
            "arguments": json.loads(call.arguments),
            "said": done.output_text,
        }


def built(kind: type[Face], build: Any) -> Any:
    """A face of this kind over the client that `build` makes from a place."""

    def face(place: Place) -> Face:
        made = kind(place)
        made.client = build(place)
        return made

    return face
