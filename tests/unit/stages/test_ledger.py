"""Leaves say what happened and hold nothing that is personal."""

from __future__ import annotations

import json

import pytest

from ostiary.errors import IntegrityError
from ostiary.stages.ledger import (
    agent_of,
    commitment,
    fault_of_leaf,
    keystore_of,
    mark_of,
    sequence_leaf,
)
from ostiary.tlog.sequencer import Mark


def body(**members):
    return json.dumps({"id": "i", "event": "outcome", "requestId": "r", **members}).encode()


@pytest.mark.parametrize(
    ("event", "opens", "closes"),
    [
        ("intent", "r", None),
        ("outcome", None, "r"),
        ("refusal", None, "r"),
        ("interrupted", None, "r"),
        ("genesis", None, None),
    ],
)
def test_a_record_opens_or_closes_its_exchange(event, opens, closes):
    assert mark_of(body(event=event)) == Mark("i", opens, closes)
    assert mark_of(sequence_leaf(body(event=event), 7)) == Mark("i", opens, closes)


@pytest.mark.parametrize(
    "leaf", [b"", b"{}", b"[]", b"\xff", b'{"id":1,"event":"a","requestId":""}']
)
def test_what_is_no_record_is_not_taken_for_one(leaf):
    with pytest.raises(IntegrityError):
        mark_of(leaf)


def test_a_leaf_is_its_record_with_a_number_in_canonical_form():
    leaf = sequence_leaf(body(z=1, a=[True, None]), 41)
    assert leaf == b'{"a":[true,null],"event":"outcome","id":"i","requestId":"r","seq":41,"z":1}'
    assert fault_of_leaf(41, leaf) == ""


@pytest.mark.parametrize("leaf", [b"", b"[]", b"3", b"{}", b'{"seq":"41"}', b'{"seq":40}'])
def test_a_leaf_with_another_number_is_at_fault(leaf):
    assert fault_of_leaf(41, leaf)


def test_a_keystore_is_read_from_the_first_record_alone():
    assert keystore_of(b'{"event":"genesis","keystore":"k"}') == "k"
    assert keystore_of(b'{"event":"outcome","keystore":"k"}') is None


def test_a_commitment_hides_and_binds():
    made = commitment(b"s" * 32, "client", b"value")
    assert made == commitment(b"s" * 32, "client", b"value")
    others = [
        commitment(b"t" * 32, "client", b"value"),
        commitment(b"s" * 32, "clien", b"tvalue"),
        commitment(b"s" * 32, "client", b"valu"),
    ]
    assert len({made, *others}) == 4
    assert "value" not in made


def test_an_agent_is_cut():
    assert agent_of(("a", "b")) == "a b"
    assert len(agent_of(("x" * 1_000,))) == 256
