"""RFC 9162 §2.1: roots as its recursion gives them, proofs that hold for their tree alone."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.tlog import tree


def naive_root(leaves):
    """MTH, word for word as RFC 9162 §2.1.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    both = naive_root(leaves[:split]) + naive_root(leaves[split:])
    return hashlib.sha256(b"\x01" + both).digest()


def leaves_of(size):
    return [tree.leaf_hash(b"%d" % number) for number in range(size)]


def subtrees(leaves):
    return lambda height, index: naive_root(leaves[index << height : (index + 1) << height])


def test_leaves_and_nodes_are_hashed_apart():
    assert tree.leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert tree.node_hash(b"l", b"r") == hashlib.sha256(b"\x01lr").digest()
    assert tree.root_of([]) == hashlib.sha256(b"").digest()


@given(st.integers(0, 700))
def test_any_size_has_the_root_of_the_recursion(size):
    assert tree.root_of(leaves_of(size)) == naive_root(leaves_of(size))


@given(st.integers(0, 300), st.integers(0, 300))
def test_an_edge_and_its_copy_grow_apart(first, second):
    edge = tree.Frontier()
    for leaf in leaves_of(first):
        edge.push(leaf)
    twin = edge.copy()
    for leaf in leaves_of(second):
        twin.push(leaf)
    assert edge.root() == naive_root(leaves_of(first))
    assert twin.root() == naive_root(leaves_of(first) + leaves_of(second))


def test_a_leaf_names_the_subtrees_that_it_completes():
    leaves, edge = leaves_of(8), tree.Frontier()
    answers = [edge.push(leaf) for leaf in leaves]
    assert [len(answer) for answer in answers] == [1, 2, 1, 3, 1, 2, 1, 4]
    assert answers[7] == [leaves[7], *(naive_root(leaves[-n:]) for n in (2, 4, 8))]


def test_subtrees_are_taken_whole_and_only_at_their_place():
    leaves, edge = leaves_of(14), tree.Frontier()
    for start, height in ((0, 2), (4, 2), (8, 2), (12, 1)):
        edge.push_subtree(height, naive_root(leaves[start : start + (1 << height)]))
    assert (edge.size, edge.root()) == (14, naive_root(leaves))
    with pytest.raises(ValueError, match="edge"):
        edge.push_subtree(2, leaves[0])


def test_every_inclusion_proof_of_small_trees_holds_for_its_leaf_alone():
    for size in range(1, 34):
        leaves = leaves_of(size)
        root = naive_root(leaves)
        for index in range(size):
            proof = tree.inclusion_proof(index, size, subtrees(leaves))
            for claimed, leaf in enumerate(leaves):
                accepted = tree.verify_inclusion(claimed, size, leaf, proof, root)
                assert accepted is (claimed == index)


def test_every_consistency_proof_of_small_trees_holds_for_its_sizes_alone():
    leaves = leaves_of(33)
    roots = [naive_root(leaves[:size]) for size in range(34)]
    for new in range(1, 34):
        for old in range(1, new + 1):
            proof = tree.consistency_proof(old, new, subtrees(leaves))
            assert tree.verify_consistency(old, new, roots[old], roots[new], proof)
            for other in range(new + 1):
                if other != old:
                    assert not tree.verify_consistency(other, new, roots[other], roots[new], proof)


def test_a_proof_with_an_item_more_or_less_or_of_another_length_is_refused():
    leaves = leaves_of(21)
    root = naive_root(leaves)
    proof = tree.inclusion_proof(7, 21, subtrees(leaves))
    older = tree.consistency_proof(7, 21, subtrees(leaves))
    for damage in (lambda p: p[1:], lambda p: p[:-1], lambda p: [*p, leaves[0]]):
        assert not tree.verify_inclusion(7, 21, leaves[7], damage(proof), root)
        assert not tree.verify_consistency(7, 21, naive_root(leaves[:7]), root, damage(older))
    assert not tree.verify_inclusion(7, 21, leaves[7], [proof[0] + b"x", *proof[1:]], root)


def test_nothing_is_consistent_with_the_empty_tree():
    assert not tree.verify_consistency(0, 0, tree.EMPTY_ROOT, tree.EMPTY_ROOT, [])
    assert not tree.verify_consistency(0, 1, tree.EMPTY_ROOT, leaves_of(1)[0], [])


@pytest.mark.parametrize(("old", "new"), [(0, 1), (3, 2), (-1, 4)])
def test_there_is_no_consistency_proof_from_nothing_or_backwards(old, new):
    with pytest.raises(ValueError, match="sizes"):
        tree.consistency_proof(old, new, subtrees(leaves_of(4)))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (4, 4), (-1, 4)])
def test_there_is_no_inclusion_proof_of_a_leaf_that_is_not_there(index, size):
    with pytest.raises(ValueError, match="leaf"):
        tree.inclusion_proof(index, size, subtrees(leaves_of(4)))


@pytest.mark.parametrize(("start", "end"), [(1, 3), (2, 2), (4, 9)])
def test_only_the_range_of_a_node_has_a_root(start, end):
    with pytest.raises(ValueError, match="node"):
        tree.range_root(start, end, subtrees(leaves_of(16)))
