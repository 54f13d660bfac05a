"""JSONTestSuite (nst/JSONTestSuite, MIT) and the project's own hostile bodies."""

import base64
import json

import pytest

from ostiary.wire import openai_chat
from ostiary.wire.strict_json import StrictJSONError, decode
from tests.vectors import load

REFUSED_ON_PURPOSE = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
MODELS = {"gpt-4o"}
# These are decided by headers or by the limit on a body's bytes, before JSON is read.
BY_HEADERS = ("ct-", "gzip", "deflate", "br-", "enc-")
BY_SIZE = {"long-string"}


def suite_bytes(value) -> bytes:
    if isinstance(value, str):
        return base64.b64decode(value)
    unit, count = value["repeat"]
    return base64.b64decode(unit) * count + base64.b64decode(value.get("tail", ""))


def body_bytes(body) -> bytes:
    if isinstance(body, list):
        return "".join(p if isinstance(p, str) else p[0] * p[1] for p in body).encode()
    if body.startswith("@UTF16@"):
        return body.removeprefix("@UTF16@").encode("utf-16")
    if body.startswith("@BYTES@"):
        return bytes.fromhex(body.removeprefix("@BYTES@"))
    return body.encode()


def verdict(data: bytes) -> str:
    try:
        request = openai_chat.parse(decode(data))
    except (StrictJSONError, openai_chat.RequestRuleError):
        return "reject"
    return "accept" if request.model in MODELS else "reject"


def test_json_test_suite():
    cases = load("json_test_suite.json")["cases"]
    read = set()
    for name, value in cases.items():
        data = suite_bytes(value)
        try:
            tree = decode(data)
        except StrictJSONError:
            continue
        read.add(name)
        assert tree == json.loads(data), name
    assert {n for n in cases if n.startswith("y_")} - read == REFUSED_ON_PURPOSE
    assert not [name for name in read if name.startswith("n_")]


def test_bodies_get_the_verdict_that_their_form_deserves():
    cases = [
        case
        for case in load("json_bodies.json")["cases"]
        if not case["id"].startswith(BY_HEADERS) and case["id"] not in BY_SIZE
    ]
    assert len(cases) >= 110
    got = {case["id"]: verdict(body_bytes(case["body"])) for case in cases}
    wanted = {case["id"]: case["must"] for case in cases}
    assert {k: got[k] for k, must in wanted.items() if must not in ("either", got[k])} == {}


def test_well_formed_bodies_decode():
    for case in load("json_bodies.json")["cases"]:
        if case["must"] == "accept":
            assert isinstance(decode(body_bytes(case["body"])), dict), case["id"]


def test_what_only_a_limit_on_bytes_refuses_is_read_without_harm():
    for case in load("json_bodies.json")["cases"]:
        if case["id"] in BY_SIZE:
            assert isinstance(decode(body_bytes(case["body"])), dict)


@pytest.mark.parametrize(
    "name", ["dup-escaped", "wide-object", "deep-array", "lone-hi", "temp-1e400"]
)
def test_refusals_of_the_decoder_carry_a_rule(name):
    (case,) = [c for c in load("json_bodies.json")["cases"] if c["id"] == name]
    with pytest.raises(StrictJSONError) as caught:
        decode(body_bytes(case["body"]))
    assert caught.value.rule in {"duplicate-key", "too-deep", "lone-surrogate", "number-range"}
