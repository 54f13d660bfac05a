"""One decoder, one document: what is ambiguous, endless or out of range is refused by name."""

import json
import math
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.errors import OstiaryError
from ostiary.wire.strict_json import MAX_CONTAINERS, StrictJSONError, decode, encode

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**308) + 1, 10**308 - 1) | st.floats(
    allow_nan=False, allow_infinity=False
)
trees = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=30,
)


def with_quotes_as_code_points(spelt: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\\u0022" if found[1] == '"' else found[0], spelt)


def rule(data: bytes, **options) -> str:
    with pytest.raises(StrictJSONError) as caught:
        decode(data, **options)
    return caught.value.rule


@given(trees, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_every_tree_comes_back_however_it_was_spelt(tree, ascii_only, indent):
    spelt = json.dumps(tree, ensure_ascii=ascii_only, indent=indent).encode()
    assert decode(spelt) == tree
    assert decode(encode(tree)) == tree


@given(trees)
def test_quotes_spelt_as_code_points_are_no_duplicates(tree):
    assert decode(with_quotes_as_code_points(json.dumps(tree)).encode()) == tree


@given(st.lists(st.tuples(text, text), min_size=1), text, st.data())
def test_a_second_member_of_one_name_is_refused_at_any_place(pairs, value, data):
    name = data.draw(st.sampled_from([name for name, _ in pairs]))
    members = [f"{json.dumps(key)}:{json.dumps(item)}" for key, item in [*pairs, (name, value)]]
    body = '{"a":[' + "{" + ",".join(members) + "}]}"
    assert rule(body.encode()) == "duplicate-key"
    assert rule(with_quotes_as_code_points(body).encode()) == "duplicate-key"


@pytest.mark.parametrize(
    "body",
    [
        rb'{"messages":1,"\u006dessages":2}',
        rb'{"k":"\u0022","k":""}',
        rb'{"a":"\u0022\u0022","k":1,"k":2}',
        rb'{"a":"\\u0022\"","k":1,"k":2}',
        rb'{"":1,"":1}',
        b'{"a":1' + b',"k":1' * 100_000 + b"}",
    ],
)
def test_escapes_do_not_hide_a_duplicate(body):
    assert rule(body) == "duplicate-key"


@given(
    st.binary()
    | text.map(str.encode)
    | st.text(st.sampled_from('[]{}",:\\u0022d8 1')).map(str.encode)
)
def test_any_bytes_give_what_the_standard_library_reads_or_one_error(data):
    try:
        tree = decode(data)
    except StrictJSONError as error:
        assert isinstance(error, OstiaryError)
        assert isinstance(error, ValueError)
    else:
        assert tree == json.loads(data)


@given(st.text(st.sampled_from('[]{}",:\\"a')))
def test_depth_is_never_underestimated(junk):
    # Whatever comes first, 65 open arrays after a valid prefix are seen before the parser is.
    prefix = json.dumps([junk, {junk: junk}])[:-1] + ","
    assert rule((prefix + "[" * 64 + "]" * 65).encode()) == "too-deep"
    decode((prefix + "[" * 63 + "]" * 64).encode())


def test_brackets_within_strings_are_no_depth():
    assert decode(encode(['[{"' * 100_000])) == ['[{"' * 100_000]
    assert decode(encode({"[" * 99: "{\\" * 99}))


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'["]",', b'{"}":[', b'["\\"]",'])
@pytest.mark.parametrize("levels", [65, 10_000, 100_000])
def test_depth_is_refused_before_the_parser_could_recurse(unit, levels):
    assert rule(unit * levels) == "too-deep"


def test_the_depth_limit_is_exact():
    assert decode(b"[" * 64 + b"]" * 64)
    assert rule(b"[" * 65 + b"]" * 65) == "too-deep"
    assert decode(b"[[1]]", max_depth=2) == [[1]]
    assert rule(b"[[[1]]]", max_depth=2) == "too-deep"
    assert rule(b"[" * 100_000 + b"]" * 100_000, max_depth=1_000_000) == "too-deep"


def test_containers_are_counted():
    full = b"[" + b",".join([b"[]"] * (MAX_CONTAINERS - 1)) + b"]"
    assert len(decode(full)) == MAX_CONTAINERS - 1
    assert rule(full[:-1] + b",[]]") == "too-many"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"\xef\xbb\xbf{}", "not-utf8"),
        (b'"\xc0\xaf"', "not-utf8"),
        (b'"\xed\xa0\x80"', "not-utf8"),
        ("{}".encode("utf-16"), "not-utf8"),
        (b'{"a":"\xff"}', "not-utf8"),
        (b"NaN", "not-json"),
        (b"-Infinity", "not-json"),
        (b'"a\x00"', "not-json"),
        (b'"a\nb"', "not-json"),
        (b"[1,]", "not-json"),
        (b"{'a':1}", "not-json"),
        (b"{}{}", "not-json"),
        (b"[01]", "not-json"),
        (b'["a', "not-json"),
        (b"1e400", "number-range"),
        (b"[-1e400]", "number-range"),
        (b"1" * 309, "number-range"),
        (b"[-" + b"1" * 309 + b"]", "number-range"),
        (b"1" * 1_000_000, "number-range"),
        (b"0." + b"0" * 308 + b"1", "number-range"),
        (rb'"\ud83d"', "lone-surrogate"),
        (rb'["\\\ude00x"]', "lone-surrogate"),
        (rb'{"\uDFAA":0}', "lone-surrogate"),
        (rb'["\ud83d\ud83d\ude00"]', "lone-surrogate"),
        (rb'["\ud83d\u1234"]', "lone-surrogate"),
    ],
)
def test_each_rule_has_its_name(body, expected):
    assert rule(body) == expected


@pytest.mark.parametrize("offset", [0, 1, 31, 63, 64, 65])
def test_the_longest_number_is_the_same_wherever_it_stands(offset):
    room = b" " * offset
    assert math.isfinite(float(decode(room + b"9" * 308)))
    assert rule(room + b"9" * 309) == "number-range"
    assert decode(b'["' + room + b"9" * 5_000 + b'"]') == [(room + b"9" * 5_000).decode()]


def test_pairs_and_escaped_backslashes_are_no_lone_surrogates():
    assert decode(rb'"\ud83d\ude00 \\ud83d"') == "\U0001f600 \\ud83d"


@pytest.mark.parametrize(
    "body", [b'{"secret":1,"secret":2}', b'["secret', b"secret\xff", b'"secret\\ud800"']
)
def test_errors_never_quote_the_input(body):
    with pytest.raises(StrictJSONError) as caught:
        decode(body)
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.__cause__)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_lone_surrogate_cannot_leave():
    with pytest.raises(StrictJSONError) as caught:
        encode({"a": "\ud800"})
    assert caught.value.rule == "lone-surrogate"


@pytest.mark.parametrize(
    "unit",
    [b"[", b'{"a":', b"[],", b'"",', b"\\", b'\\"', b"1", b"1,", rb"\ud800", b'"[', b"{}", b"\xff"],
)
@pytest.mark.parametrize("start", [b"", b'"', b"[", b'{"k":"'])
def test_two_megabytes_of_anything_take_well_under_a_second(unit, start):
    data = start + unit * (2_000_000 // len(unit))
    begun = time.process_time()
    with pytest.raises(StrictJSONError):
        decode(data)
    assert time.process_time() - begun < 0.5
