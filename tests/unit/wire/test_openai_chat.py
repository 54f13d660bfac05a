"""The form of a chat request: wrong values are refused by name, unknown fields survive."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.wire import openai_chat
from ostiary.wire.openai_chat import RequestRuleError, chunk, completion, parse, usage
from ostiary.wire.strict_json import decode, encode

USER = {"role": "user", "content": "hi"}


def body(**members):
    return {"model": "gpt-4o", "messages": [USER]} | members


def field(tree, **options) -> str:
    with pytest.raises(RequestRuleError) as caught:
        parse(tree, **options)
    return caught.value.field


def part(**members):
    return body(messages=[{"role": "user", "content": [members]}])


def test_the_smallest_request():
    request = parse(body())
    assert (request.model, request.stream, request.n) == ("gpt-4o", False, 1)
    assert (request.max_tokens, request.include_usage, request.opaque) == (None, False, ())


def test_the_body_is_left_as_it_was_sent():
    tree = body(x_new_2027={"a": [1]}, stop=None, messages=[USER | {"weight": 1}])
    before = encode(tree)
    assert parse(tree).body is tree
    assert encode(tree) == before


def test_what_is_asked_for_is_read():
    request = parse(
        body(
            stream=True,
            n=3,
            max_tokens=10,
            max_completion_tokens=20,
            stream_options={"include_usage": True},
        )
    )
    assert (request.stream, request.n, request.max_tokens) == (True, 3, 20)
    assert request.include_usage is True


@pytest.mark.parametrize("name", [*openai_chat._RULES.numbers, *openai_chat._RULES.integers])
@pytest.mark.parametrize("wrong", ["1", True, False, [1], {}, 10**300, -(10**300), 1e300, ""])
def test_numbers_are_numbers_in_range(name, wrong):
    assert field(body(**{name: wrong})) == name


@pytest.mark.parametrize("name", openai_chat._RULES.integers)
def test_integers_have_no_fraction(name):
    assert field(body(**{name: 1.5})) == name
    assert field(body(**{name: 1.0})) == name


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
        ("n", 1, 128),
        ("max_tokens", 1, 2**31 - 1),
        ("max_completion_tokens", 1, 2**31 - 1),
    ],
)
def test_bounds_are_included(name, low, high):
    for value in (low, high, None):
        parse(body(**{name: value}))
    for value in (low - 1, high + 1):
        assert field(body(**{name: value})) == name


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        ("stream", [True, False, None], [1, "true", []]),
        ("logprobs", [True, None], [1, 5]),
        ("stop", ["a", ["a", "b"], [], None], [1, [1], {"a": 1}, ["a", None]]),
        ("stream_options", [{}, {"include_usage": None}, None], [[], "x", True]),
        ("tools", [[], [{"type": "function"}], None], [{}, "x", [1], [None]]),
        ("tool_choice", ["auto", {"type": "function"}, None], [1, [], True]),
        ("response_format", [{"type": "text"}, None], ["json", []]),
        ("logit_bias", [{"50256": -100}, None], [[1], "x"]),
    ],
)
def test_types_of_options(name, good, wrong):
    for value in good:
        parse(body(**{name: value}))
    for value in wrong:
        assert field(body(**{name: value})) == name


def test_include_usage_is_true_or_false():
    assert field(body(stream_options={"include_usage": 1})) == "stream_options.include_usage"


@pytest.mark.parametrize("wrong", [None, "", 1, ["gpt-4o"], "x" * 257, {}])
def test_a_model_is_a_name(wrong):
    assert field(body(model=wrong)) == "model"
    assert field({"messages": [USER]}) == "model"


def test_a_model_in_the_path_decides():
    assert parse({"messages": [USER]}, path_model="d").model == "d"
    assert parse(body(model=None), path_model="d").model == "d"
    assert parse(body(model="other"), path_model="d").model == "d"
    assert field(body(model=1), path_model="d") == "model"


@pytest.mark.parametrize(
    ("messages", "where"),
    [
        (None, "messages"),
        ([], "messages"),
        ({}, "messages"),
        ("hi", "messages"),
        ([USER] * 2049, "messages"),
        ([[]], "messages[0]"),
        ([USER, None], "messages[1]"),
        ([{"content": "a"}], "messages[0].role"),
        ([{"role": "root", "content": "a"}], "messages[0].role"),
        ([{"role": ["user"], "content": "a"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 1}], "messages[0].content"),
        ([{"role": "user", "content": {}}], "messages[0].content"),
        ([{"role": "user", "content": [None]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": 1}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"text": "a"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls"),
    ],
)
def test_messages_have_a_form(messages, where):
    assert field(body(messages=messages)) == where


def test_every_role_of_the_protocol_may_speak():
    parse(body(messages=[{"role": role, "content": "a"} for role in sorted(openai_chat.ROLES)]))
    parse(body(messages=[USER, {"role": "assistant", "content": None, "tool_calls": [{}]}]))
    parse(body(messages=[USER] * 2048))


def test_text_parts_are_readable():
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    assert parse(body(messages=[{"role": "assistant", "content": parts}])).opaque == ()


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}, "image_url"),
        ({"type": "input_audio", "input_audio": {"data": "AA=="}}, "input_audio"),
        ({"type": "file", "file": {"file_data": "f"}}, "file"),
        ({"type": "secret-new-kind"}, "other"),
        ({"type": "text", "text": "a", "input_audio": {}}, "input_audio"),
        ({"type": "secret", "image_url": "data:,"}, "image_url"),
    ],
)
def test_parts_that_no_detector_reads_are_named_without_a_word_of_theirs(members, kind):
    assert parse(part(**members)).opaque == (f"messages[0].content[0]:{kind}",)


def test_sound_is_opaque_in_either_direction():
    spoken = {"role": "assistant", "audio": {"id": "a"}}
    assert parse(body(messages=[USER, spoken])).opaque == ("messages[1].audio:audio",)
    assert parse(body(modalities=["text", "audio"])).opaque == ("modalities:audio",)
    assert parse(body(modalities=["text"])).opaque == ()
    assert field(body(modalities="audio")) == "modalities"


@pytest.mark.parametrize(
    "image",
    [{"url": "file:///etc/passwd"}, "FILE:///x", {"url": "gopher://a"}, {}, None, {"url": 1}],
)
def test_an_image_is_never_a_file(image):
    where = "messages[0].content[0].image_url.url"
    assert field(part(type="image_url", image_url=image)) == where


@pytest.mark.parametrize("tree", [None, [], 1, "x", True])
def test_a_body_is_an_object(tree):
    assert field(tree) == "body"


def test_a_field_name_has_a_length():
    assert field(body(**{"secret" * 100: 1})) == "body"


@pytest.mark.parametrize(
    "tree",
    [
        body(model=["secret"]),
        body(temperature="secret"),
        body(messages=[{"role": "secret", "content": ""}]),
        body(**{"secret" * 100: 1}),
        part(type="image_url", image_url={"url": "secret:"}),
    ],
)
def test_no_error_quotes_the_request(tree):
    with pytest.raises(RequestRuleError) as caught:
        parse(tree)
    assert "secret" not in str(caught.value)


def test_no_text_is_in_a_repr():
    assert "secret" not in repr(parse(body(model="secret", x="secret")))


names = st.sampled_from(sorted(openai_chat.FIELD_NAMES)) | st.text(max_size=3)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
)


@given(junk, st.lists(junk, max_size=3), st.dictionaries(names, junk))
def test_any_tree_is_read_or_refused(tree, messages, options):
    for candidate in (tree, options | {"model": "m", "messages": messages}, body() | options):
        try:
            request = parse(candidate)
        except RequestRuleError as error:
            assert error.field
        else:
            assert request.n >= 1


def test_answers_have_the_shape_of_openai():
    whole = completion(id="c1", created=1, model="m", contents=["a", "b"], usage=usage(2, 3))
    assert whole["object"] == "chat.completion"
    assert [c["message"]["content"] for c in whole["choices"]] == ["a", "b"]
    assert [c["index"] for c in whole["choices"]] == [0, 1]
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert decode(encode(whole)) == json.loads(json.dumps(whole))


def test_chunks_have_the_shape_of_openai():
    first = chunk(id="c1", created=1, model="m", delta={"content": "a"}, index=1)
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"] == [
        {"index": 1, "delta": {"content": "a"}, "logprobs": None, "finish_reason": None}
    ]
    assert "usage" not in first
    last = chunk(id="c1", created=1, model="m", delta=None, usage=usage(1, 1))
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 2
