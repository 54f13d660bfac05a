"""gzip (RFC 1952), undone within bounds: no more is ever inflated than may be kept.

One member, and nothing after it: of several, or of bytes behind the last, two readers could take
different bodies.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

SLICE: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


class GzipError(ValueError):
    """The bytes are not one whole gzip member; the text quotes none of them."""


class GzipTooLarge(ValueError):
    """More comes out than may be kept."""


def inflate(data: bytes, limit: int) -> Iterator[bytes]:
    """The content in slices of at most `SLICE` bytes, each made when it is asked for.

    Raise GzipTooLarge as soon as more than `limit` bytes come out, GzipError where the data is
    damaged, cut off, or followed by anything.
    """
    reader = zlib.decompressobj(_GZIP)
    size = 0
    rest = data
    while not reader.eof:
        try:
            # One byte beyond the limit is enough to know.
            part = reader.decompress(rest, min(SLICE, limit + 1 - size))
        except zlib.error:
            raise GzipError("the gzip data is damaged") from None
        rest = reader.unconsumed_tail
        if not part and not reader.eof and not rest:
            raise GzipError("the gzip data is cut off")
        size += len(part)
        if size > limit:
            raise GzipTooLarge
        yield part
    if reader.unused_data:
        raise GzipError("something follows the gzip data")
