"""What counts as a number or an integer in a request: `"1"` does not, and `true` is not 1."""

from __future__ import annotations

from typing import TypeGuard


def is_number(value: object, low: float, high: float) -> TypeGuard[int | float]:
    """Whether `value` is a JSON number within `low` and `high`, both included."""
    return type(value) in (int, float) and low <= value <= high  # type: ignore[operator]


def is_integer(value: object, low: int, high: int) -> TypeGuard[int]:
    """Whether `value` is a JSON number without fraction or exponent, `low` ≤ value ≤ `high`."""
    return type(value) is int and low <= value <= high
