"""Names and contents of tiles, as tlog-tiles spells them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.errors import IntegrityError
from ostiary.tlog.tiles import (
    ENTRIES,
    Tile,
    added,
    decode_bundle,
    edge,
    encode_bundle,
    items_at,
    levels,
)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(2, 1234067), "tile/2/x001/x234/067"),
        (Tile(0, 999, 1), "tile/0/999.p/1"),
        (Tile(63, 1000, 255), "tile/63/x001/000.p/255"),
        (Tile(ENTRIES, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_a_tile_and_its_path_name_each_other(tile, path):
    assert tile.path == path
    assert Tile.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/1000",
        "tile/0/001/000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/000\n",
        "tile/0/\N{ARABIC-INDIC DIGIT ZERO}00",
        "tile/entries/../0/000",
        "/tile/0/000",
        "tile/0/" + "x001/" * 2000 + "000",
    ],
)
def test_another_spelling_names_nothing(path):
    assert Tile.parse(path) is None


def test_the_example_of_tlog_tiles_has_its_files():
    files = list(added(0, 70_000))
    hashes = [tile for tile in files if tile.level != ENTRIES]
    assert [tile for tile in hashes if tile.width < 256] == list(edge(70_000))[1:]
    assert list(edge(70_000))[1:] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert sum(tile.level == 0 for tile in hashes) == 274
    assert list(edge(256)) == [Tile(1, 0, 1)]
    assert list(levels(0)) == []


@given(st.integers(0, 200_000), st.integers(0, 3000))
def test_growing_adds_just_the_files_that_were_not_there(old, more):
    before, after = set(added(0, old)), set(added(0, old + more))
    assert set(added(old, old + more)) == after - before
    for tile in after:
        assert tile.index * 256 + tile.width <= items_at(tile.level, old + more)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_a_bundle_gives_back_its_entries(entries):
    bundle = encode_bundle(entries)
    assert decode_bundle(bundle, len(entries)) == entries
    if entries:
        with pytest.raises(IntegrityError):
            decode_bundle(bundle[:-1], len(entries))


def test_the_longest_entry_fits_and_a_longer_one_does_not():
    assert decode_bundle(encode_bundle([b"x" * 65_535]), 1) == [b"x" * 65_535]
    with pytest.raises(ValueError, match="65,535"):
        encode_bundle([b"x" * 65_536])
