"""The Merkle tree of RFC 9162 §2.1 with SHA-256: hashes, roots, proofs and their verification.

Nothing here reads or writes; a proof is made from whoever knows the roots of complete subtrees.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence

HASH_SIZE = 32

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""MTH of no entries (RFC 9162 §2.1.1)."""

Subtree = Callable[[int, int], bytes]
"""`(height, index)` → MTH(D[index·2^height : (index+1)·2^height]), a complete subtree."""


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ entry), 32 bytes (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right), 32 bytes (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, largest first.

    Guarantees that `size` leaves cost at most 2·`size` hashes in all and that `root` costs at most
    log2(`size`). It takes leaf hashes, or the roots of complete subtrees of one height.
    """

    def __init__(self) -> None:
        """Begin with the empty tree."""
        self.size = 0
        self._peaks: list[bytes] = []

    def copy(self) -> Frontier:
        """Return an edge that grows apart from this one."""
        twin = Frontier()
        twin.size, twin._peaks = self.size, self._peaks.copy()
        return twin

    def push(self, leaf: bytes) -> list[bytes]:
        """Add one leaf hash; return the roots of the subtrees that it completes.

        Item *h* of the answer is the root of the subtree of height *h* that ends with this leaf;
        item 0 is the leaf itself.
        """
        done = [leaf]
        carry = self.size
        while carry & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            done.append(leaf)
            carry >>= 1
        self._peaks.append(leaf)
        self.size += 1
        return done

    def push_subtree(self, height: int, root: bytes) -> None:
        """Add a complete subtree of 2^`height` leaves by its root.

        Raises ValueError where the edge does not end at a multiple of that many leaves.
        """
        if self.size & ((1 << height) - 1):
            raise ValueError("the edge does not end where the subtree begins")
        carry = self.size >> height
        while carry & 1:
            root = node_hash(self._peaks.pop(), root)
            carry >>= 1
        self._peaks.append(root)
        self.size += 1 << height

    def root(self) -> bytes:
        """Return MTH of everything pushed so far (RFC 9162 §2.1.1)."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return MTH over leaf hashes, or over the roots of equally high complete subtrees."""
    edge = Frontier()
    for leaf in leaves:
        edge.push(leaf)
    return edge.root()


def range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """Return MTH(D[start:end]) from complete subtrees.

    `start` must be a multiple of the smallest power of two that is at least `end - start`, as it is
    for every range in a proof; ValueError otherwise.
    """
    width = end - start
    if width <= 0 or start % (1 << (width - 1).bit_length()):
        raise ValueError("not the range of a node")
    parts = []
    while start < end:
        height = (end - start).bit_length() - 1
        parts.append(subtree(height, start >> height))
        start += 1 << height
    root = parts.pop()
    while parts:
        root = node_hash(parts.pop(), root)
    return root


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return PATH(index, D[0:size]), leaf's sibling first (RFC 9162 §2.1.3.1).

    Raises ValueError where `index` is not below `size`.
    """
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of that size")
    proof = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            proof.append(range_root(split, end, subtree))
            end = split
        else:
            proof.append(range_root(start, split, subtree))
            start = split
    return proof[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """Return PROOF(old, D[0:new]) (RFC 9162 §2.1.4.1); empty where the sizes are equal.

    Raises ValueError unless 0 < `old` <= `new`: nothing follows from an empty tree.
    """
    if not 0 < old <= new:
        raise ValueError("no consistency proof between these sizes")
    proof = []
    start, end = 0, new
    whole = True
    while old != end:
        split = start + _split(end - start)
        if old <= split:
            proof.append(range_root(split, end, subtree))
            end = split
        else:
            proof.append(range_root(start, split, subtree))
            start, whole = split, False
    if not whole:
        proof.append(range_root(start, end, subtree))
    return proof[::-1]


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> bool:
    """Tell whether the proof leads from leaf hash `leaf` at `index` to `root` (RFC 9162 §2.1.3.2).

    True proves that the tree of `size` leaves with that root holds the leaf at that place. Hashes
    of another length than 32 bytes and superfluous items are refused.
    """
    if not 0 <= index < size or not _all_hashes([leaf, root, *proof]):
        return False
    node, last, found = index, size - 1, leaf
    for item in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(item, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, item)
        node, last = node >> 1, last >> 1
    return last == 0 and hmac.compare_digest(found, root)


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether the tree of `new` leaves begins with the tree of `old` (RFC 9162 §2.1.4.2).

    The empty tree is refused as `old`: it would be consistent with anything. Equal sizes need
    equal roots and no proof.
    """
    if not 0 < old <= new or not _all_hashes(proof):
        return False
    if old == new:
        return not proof and hmac.compare_digest(old_root, new_root)
    if not proof:
        return False
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for item in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(item, first), node_hash(item, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, item)
        node, last = node >> 1, last >> 1
    return (
        last == 0 and hmac.compare_digest(first, old_root) and hmac.compare_digest(second, new_root)
    )


def _split(width: int) -> int:
    """Return the largest power of two below `width` (> 1)."""
    return 1 << ((width - 1).bit_length() - 1)


def _all_hashes(items: Sequence[bytes]) -> bool:
    return all(len(item) == HASH_SIZE for item in items)
