"""The proofs of transparency-dev/merkle: 98 of inclusion, 98 of consistency, valid and not."""

import base64

from ostiary.tlog.tree import verify_consistency, verify_inclusion
from tests.vectors import load


def decoded(items):
    return [base64.b64decode(item) for item in items or []]


def test_inclusion_proofs_are_accepted_and_refused_as_marked():
    cases = load("merkle_proofs.json")["inclusion"]
    assert len(cases) == 98
    for case in cases:
        leaf, root = decoded([case["leafHash"], case["root"]])
        proof = decoded(case["proof"])
        accepted = verify_inclusion(case["leafIdx"], case["treeSize"], leaf, proof, root)
        assert accepted is not case["wantErr"], case["file"]


def test_consistency_proofs_are_accepted_and_refused_as_marked():
    cases = load("merkle_proofs.json")["consistency"]
    assert len(cases) == 98
    for case in cases:
        old_root, new_root = decoded([case["root1"], case["root2"]])
        proof = decoded(case["proof"])
        accepted = verify_consistency(case["size1"], case["size2"], old_root, new_root, proof)
        assert accepted is not case["wantErr"], case["file"]
