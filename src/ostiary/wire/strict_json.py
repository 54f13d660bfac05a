"""One strict JSON decoder for request bodies, answers and token parts, and the encoder beside it.

Two readers of one text must never see two documents: what Ostiary inspected is what the model
gets. So everything that RFC 8259 leaves to the reader is refused here: duplicate names (§4), the
byte order mark (§8.1), unpaired surrogates (§8.2), numbers that no double can hold (§6) and
nesting without end (§9).

msgspec reads the grammar, UTF-8 and numbers strictly, but keeps the last of two members that share
a name. Such a member is found without a second parse: a member that was dropped took at least its
name, and so two quotes, with it, and the tree written out again has fewer quotes than its text.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ostiary.errors import OstiaryError

JSON: TypeAlias = Any
"""A decoded tree: dict with str names, list, str, int, float, bool or None."""

Rule: TypeAlias = Literal[
    "empty",
    "not-utf8",
    "not-json",
    "duplicate-key",
    "too-deep",
    "too-many",
    "number-range",
    "lone-surrogate",
]

MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 308
"""Longest run of digits in a number: any integer of 308 digits is within the range of a double."""

MAX_CONTAINERS: Final = 262_144
"""Most objects and arrays in one text; no request needs more, and each costs memory and time."""

_decode_any: Final = msgspec.json.Decoder().decode
_encode_any: Final = msgspec.json.Encoder().encode

_DIGITS_AS_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_TOO_MANY_DIGITS: Final = b"0" * (MAX_DIGITS + 1)
# A run of 309 digits covers at least four positions that are multiples of 64.
_STRIDE: Final = 64
_SAMPLED_DIGITS: Final = b"0" * ((MAX_DIGITS + 1) // _STRIDE)

# Brackets become signed bytes, +1 and -1, so that a running sum is the depth; quotes stay.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NEITHER_BRACKET_NOR_QUOTE: Final = bytes(set(range(256)) - set(b'[]{}"'))
_PEELS: Final = 6

_OFFSET: Final = re.compile(r"\(byte (\d+)\)")
_LONE_SURROGATE: Final = re.compile(
    rb"(?:[^\\]++"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|\\(?!u[dD][89a-fA-F]).)*+"
    rb"\\u[dD][89a-fA-F]",
    re.DOTALL,
)


class StrictJSONError(OstiaryError, ValueError):
    """The bytes are not one strict JSON text. `rule` is stable; the text never quotes the input."""

    def __init__(self, rule: Rule, message: str) -> None:
        """Take the stable name of the broken rule and a public sentence."""
        super().__init__(message)
        self.rule = rule
        self.message = message


def decode(data: bytes, *, max_depth: int = MAX_DEPTH) -> JSON:
    """The tree of one JSON text, or StrictJSONError and no other exception.

    Guarantees of the tree: names are unique, every string can be written as UTF-8, every number is
    finite and converts to a float, and no path is longer than `max_depth` containers. Depth and
    digits are checked by linear scans before the parser sees the bytes, so that neither recursion
    nor big-number arithmetic can be provoked.
    """
    _check_nesting(data, max_depth)
    if _has_long_number(data):
        raise _number_range()
    try:
        tree = _decode_any(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(data, error) from None
    if _has_lost_member(data, tree):
        raise StrictJSONError("duplicate-key", "JSON has an object with two members of one name")
    return tree


def encode(value: object) -> bytes:
    """Compact UTF-8 JSON for sending; a float that is not finite becomes null.

    A string that holds a lone surrogate raises StrictJSONError("lone-surrogate"): nothing that is
    not UTF-8 can leave.
    """
    try:
        return _encode_any(value)
    except UnicodeEncodeError:
        raise _lone_surrogate() from None


def _check_nesting(data: bytes, max_depth: int) -> None:
    """Refuse a text that opens too many containers, at once or in all. Linear, no recursion."""
    if data.count(b"[") + data.count(b"{") <= max_depth:
        return
    steps = _without_escapes(data).translate(_STEPS, _NEITHER_BRACKET_NOR_QUOTE)
    # Strings without brackets are now pairs of quotes. If any other string is there, the first
    # one leaves an odd run of quotes before it, and so a quote behind.
    outside = steps.replace(b'""', b"")
    if b'"' in outside:
        outside = b"".join(steps.split(b'"')[::2])

    if outside.count(b"\x01") > MAX_CONTAINERS:
        raise StrictJSONError("too-many", f"JSON has more than {MAX_CONTAINERS} objects and arrays")
    if _is_deeper(outside, max_depth):
        raise StrictJSONError("too-deep", f"JSON is nested deeper than {max_depth} levels")


def _is_deeper(steps: bytes, limit: int) -> bool:
    """Whether the running sum of `steps` ever exceeds `limit`."""
    # Taking away innermost pairs shortens wide, shallow bodies to nothing within a few passes;
    # each pass lowers the depth by at most one.
    peeled = steps
    for passes in range(1, _PEELS + 1):
        peeled = peeled.replace(b"\x01\xff", b"")
        if peeled.count(b"\x01") + passes <= limit:
            return False
    return max(accumulate(memoryview(steps).cast("b")), default=0) > limit


def _without_escapes(data: bytes) -> bytes:
    """The text in which each quote left opens or closes a string.

    Exact up to the first byte that is not JSON: backslashes occur in strings only, where pairs of
    them go first and then the quotes that a backslash escapes.
    """
    if b"\\" not in data:
        return data
    return data.replace(b"\\\\", b"").replace(b'\\"', b"")


def _has_long_number(data: bytes) -> bool:
    """Whether digits run on for more than MAX_DIGITS outside strings."""
    if _SAMPLED_DIGITS not in data[::_STRIDE].translate(_DIGITS_AS_ZERO):
        return False
    outside = b" ".join(_without_escapes(data).split(b'"')[::2])
    return _TOO_MANY_DIGITS in outside.translate(_DIGITS_AS_ZERO)


def _has_lost_member(data: bytes, tree: JSON) -> bool:
    """Whether the valid text `data` has a string that `tree`, decoded from it, has not.

    The encoder writes a quote inside a string as backslash and quote. So did `data`, unless it
    holds the only other spelling; then only quotes that are ends of strings are counted.
    """
    again = _encode_any(tree)
    if b"\\u0022" in data:
        return _without_escapes(data).count(b'"') != _without_escapes(again).count(b'"')
    return data.count(b'"') != again.count(b'"')


def _explain(data: bytes, error: Exception) -> StrictJSONError:
    """Name the rule that `data` broke; off the hot path, linear."""
    if isinstance(error, RecursionError):
        return StrictJSONError("too-deep", "JSON is nested deeper than the reader allows")
    if not data.strip(b" \t\r\n"):
        return StrictJSONError("empty", "the body is empty")
    if data.startswith(b"\xef\xbb\xbf"):
        return StrictJSONError("not-utf8", "JSON begins with a byte order mark")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return StrictJSONError("not-utf8", f"not UTF-8 at byte {wrong.start}")
    if isinstance(error, msgspec.ValidationError):
        return _number_range()
    if (b"\\ud" in data or b"\\uD" in data) and _LONE_SURROGATE.match(data):
        return _lone_surrogate()
    place = _OFFSET.search(str(error))
    where = f"at byte {place[1]}" if place else "it ends too early"
    return StrictJSONError("not-json", f"not JSON (RFC 8259): {where}")


def _number_range() -> StrictJSONError:
    return StrictJSONError("number-range", "JSON has a number that is out of range")


def _lone_surrogate() -> StrictJSONError:
    return StrictJSONError("lone-surrogate", "JSON has a string with an unpaired surrogate")
