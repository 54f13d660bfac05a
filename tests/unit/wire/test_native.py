"""`/api/chat`: each field has one rule, and all faults are told at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.wire.native import FIELDS, NativeChat, NativeChatError, parse

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-35-turbo")
UUID = "123E4567-e89b-12d3-a456-426614174000"


def faults(tree) -> list[str]:
    with pytest.raises(NativeChatError) as caught:
        parse(tree, models=MODELS)
    assert all(detail.keys() == {"field", "message"} for detail in caught.value.details)
    return [detail["field"] for detail in caught.value.details]


def read(**members) -> NativeChat:
    return parse({"message": "hi"} | members, models=MODELS)


def test_a_message_is_enough():
    assert read() == NativeChat("hi", None, None, None, None, False)


def test_every_field_is_read():
    request = read(
        conversationId=UUID, model="gpt-4o-mini", temperature=0.5, maxTokens=7, stream=True
    )
    assert request == NativeChat("hi", UUID.lower(), "gpt-4o-mini", 0.5, 7, True)


def test_null_means_absent():
    assert read(**{name: None for name in FIELDS if name != "message"}) == read()
    assert faults({"message": None}) == ["message"]


@pytest.mark.parametrize("message", ["a", "x" * 8000, "\U0001f600" * 8000, " a ", "\u200ba", "\0"])
def test_messages_of_1_to_8000_code_points_come_back_unchanged(message):
    assert read(message=message).message == message


@pytest.mark.parametrize(
    "message", ["", "x" * 8001, " ", "\n\t", "\u3000\u2003", "\u200b\ufeff", 1, True, ["a"], {}]
)
def test_other_messages_are_faults(message):
    assert faults({"message": message}) == ["message"]


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        (
            "conversationId",
            [UUID, "0" * 8 + "-0000" * 3 + "-" + "0" * 12],
            [
                "",
                "x",
                UUID.replace("-", ""),
                "{" + UUID + "}",
                UUID + "\n",
                " " + UUID,
                1,
                "urn:uuid:" + UUID,
                UUID.replace("1", "١"),
                [UUID],
            ],
        ),
        ("model", MODELS, ["", "gpt-5", "GPT-4O", "gpt-4o ", 1, ["gpt-4o"], {}]),
        ("temperature", [0, 2, 1.5, 0.0], [-0.1, 2.1, "1", True, [], 10**300, -1]),
        ("maxTokens", [1, 4000], [0, 4001, 1.0, "1", True, -1, 10**300]),
        ("stream", [True, False], [1, 0, "true", []]),
    ],
)
def test_each_optional_field_has_its_rule(name, good, wrong):
    for value in good:
        read(**{name: value})
    for value in wrong:
        assert faults({"message": "hi", name: value}) == [name]


def test_all_faults_are_told_at_once():
    tree = {name: [] for name in FIELDS} | {"secret": 1}
    assert faults(tree) == [*FIELDS, "body"]


@pytest.mark.parametrize("tree", [None, [], "hi", 1, True])
def test_a_body_is_an_object(tree):
    assert faults(tree) == ["body"]


def test_no_fault_quotes_the_request():
    with pytest.raises(NativeChatError) as caught:
        parse(dict.fromkeys(FIELDS[1:], "secret") | {"secret": 1, "secret2": 1}, models=MODELS)
    assert "secret" not in str(caught.value) + repr(caught.value.details)


def test_no_text_is_in_a_repr():
    assert "secret" not in repr(read(message="secret"))


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none())


@given(values | st.dictionaries(st.sampled_from([*FIELDS, "x"]), values | st.just("gpt-4o")))
def test_any_tree_is_read_or_refused(tree):
    try:
        request = parse(tree, models=MODELS)
    except NativeChatError as error:
        assert error.details
    else:
        assert request.message == tree["message"]
