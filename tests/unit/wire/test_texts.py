"""Every text is found once, and an edit changes nothing but its own place."""

import copy
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.wire.texts import KeyCollision, replace, strings

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=30,
)


def reference(tree, path=()):
    """The same walk, recursive and plain: (path, text, is_key)."""
    if isinstance(tree, str):
        yield path, tree, False
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield (*path, key), key, True
            yield from reference(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from reference(value, (*path, index))


def mapped(tree, change):
    if isinstance(tree, str):
        return change(tree)
    if isinstance(tree, dict):
        return {change(key): mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, list):
        return [mapped(value, change) for value in tree]
    return tree


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def order(tree):
    return list(reference(tree))


@given(trees)
def test_every_string_and_name_is_found_exactly_once(tree):
    found = [(place.path, place.text, place.is_key) for place in strings(tree)]
    assert sorted(found, key=repr) == sorted(reference(tree), key=repr)


@given(trees)
def test_all_texts_can_be_replaced_at_once(tree):
    before = copy.deepcopy(tree)
    changed = replace(tree, [(place, f"<{place.text}>") for place in strings(tree)])
    assert changed == mapped(tree, lambda text: f"<{text}>")
    assert order(changed) == order(mapped(before, lambda text: f"<{text}>"))
    assert tree == before


@given(trees, st.data())
def test_one_edit_changes_one_place(tree, data):
    values = [place for place in strings(tree) if not place.is_key]
    if not values:
        return
    place = data.draw(st.sampled_from(values))
    changed = replace(tree, [(place, "new")])
    expected = [
        (path, "new" if path == place.path and not is_key else text, is_key)
        for path, text, is_key in reference(tree)
    ]
    assert order(changed) == expected


def test_branches_without_an_edit_are_shared():
    tree = {"a": [{"b": "x"}], "c": {"d": "y"}}
    (place,) = [place for place in strings(tree) if place.text == "y"]
    changed = replace(tree, [(place, "z")])
    assert changed == {"a": [{"b": "x"}], "c": {"d": "z"}}
    assert changed["a"] is tree["a"]
    assert replace(tree, []) is tree


def test_renamed_members_keep_their_order_and_their_changed_values():
    tree = {"a": {"x": "1"}, "b": "2", "c": "3"}
    edits = {"a": "A", "x": "X", "1": "one", "b": "c", "c": "b"}
    changed = replace(tree, [(place, edits.get(place.text, place.text)) for place in strings(tree)])
    assert list(changed.items()) == [("A", {"X": "one"}), ("c", "2"), ("b", "3")]


@pytest.mark.parametrize("tree", [{"secret": 1, "b": 2}, {"k": [{"secret": "", "b": ""}]}])
def test_two_members_of_one_name_never_arise(tree):
    (place,) = [place for place in strings(tree) if place.text == "secret"]
    with pytest.raises(KeyCollision) as caught:
        replace(tree, [(place, "b")])
    assert "secret" not in str(caught.value)


def test_a_bare_string_is_a_tree():
    (place,) = strings("a")
    assert (place.path, place.is_key) == ((), False)
    assert replace("a", [(place, "b")]) == "b"


def test_a_place_of_another_tree_is_refused():
    first, second = {"a": "x"}, {"a": "x"}
    with pytest.raises(ValueError):
        replace(second, [(strings(first)[0], "b")])
    with pytest.raises(ValueError):
        replace(first, [(strings(first)[0], "b"), (strings(second)[0], "b")])


def test_words_of_the_protocol_can_be_left_out_but_never_their_values():
    tree = {"role": "role", "x": "y"}
    found = [(place.text, place.is_key) for place in strings(tree, known_names={"role"})]
    assert found == [("role", False), ("x", True), ("y", False)]


def test_depth_costs_no_recursion():
    tree: object = "deep"
    for _ in range(100_000):
        tree = [tree]
    (place,) = strings(tree)
    assert len(place.path) == 100_000
    changed = replace(tree, [(place, "new")])
    assert strings(changed)[0].text == "new"
    # Taken apart from the outside, so that neither tree is freed by recursion.
    while isinstance(changed, list):
        changed = changed.pop()
    while isinstance(tree, list):
        tree = tree.pop()


def test_five_hundred_messages_are_walked_in_a_moment():
    tree = {"messages": [{"role": "user", "content": "hello"} for _ in range(500)]}
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        places = strings(tree)
        times.append(time.perf_counter() - begun)
    assert len(places) == 2001
    assert min(times) < 0.002


def test_no_text_is_in_a_repr():
    for place in strings({"secret": ["secret"]}):
        assert "secret" not in repr(place)
        assert "secret" not in repr(place.node)
