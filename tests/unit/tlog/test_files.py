"""The writer: what it appends stays, in the files that the size calls for and no others."""

import base64
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.errors import IntegrityError
from ostiary.tlog.disk import Disk
from ostiary.tlog.files import LogFiles
from ostiary.tlog.proof import Proof
from ostiary.tlog.tiles import added
from ostiary.tlog.tree import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from tests.unit.tlog.logs import (
    SIGNER,
    entries_of,
    expected_root,
    files_of,
    log_in,
    log_of,
    verified,
)


def test_a_new_log_is_empty_and_sound(tmp_path):
    log = log_of(tmp_path)
    assert (log.size, log.root()) == (0, EMPTY_ROOT)
    assert list(files_of(tmp_path)) == ["checkpoint"]
    assert verified(tmp_path).ok


@pytest.mark.parametrize("sizes", [(1,), (255, 256, 257), (256,), (3, 600), (512, 513), (700, 700)])
def test_a_log_holds_just_the_files_of_its_size(tmp_path, sizes):
    log = log_of(tmp_path, *sizes)
    size = sizes[-1]
    assert (log.size, log.root()) == (size, expected_root(size))
    assert set(files_of(tmp_path)) == {"checkpoint", *(tile.path for tile in added(0, size))}
    assert list(log.read_entries(0, size)) == entries_of(0, size)
    assert verified(tmp_path).records == size
    assert verified(tmp_path).ok


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=6))
def test_many_appends_leave_the_bytes_of_one(tmp_path_factory, steps):
    step, batch = tmp_path_factory.mktemp("step"), tmp_path_factory.mktemp("batch")
    sizes = [sum(steps[:count]) for count in range(1, len(steps) + 1)]
    log_of(step, *sizes)
    log_of(batch, sizes[-1])
    assert files_of(step) == files_of(batch)


def test_levels_above_the_first_are_written(tmp_path):
    log = log_of(tmp_path, 65_530, 65_540, 66_100)
    assert log.root() == expected_root(66_100)
    assert {"tile/1/000", "tile/1/001.p/2", "tile/2/000.p/1"} <= set(files_of(tmp_path))
    assert verified(tmp_path).ok
    again = log_in(tmp_path)
    again.open()
    assert again.root() == expected_root(66_100)
    assert verify_inclusion(
        777,
        66_100,
        leaf_hash(entries_of(777, 778)[0]),
        again.inclusion_proof(777, 66_100),
        log.root(),
    )


def test_a_log_goes_on_after_it_is_opened_again(tmp_path):
    log_of(tmp_path, 300)
    again = log_in(tmp_path)
    assert again.append(entries_of(300, 600)) == 300
    assert again.root() == expected_root(600)
    assert verified(tmp_path).ok


def test_appending_nothing_writes_nothing(tmp_path):
    log = log_of(tmp_path, 5)
    before = files_of(tmp_path)
    assert log.append([]) == 5
    assert files_of(tmp_path) == before


def test_an_entry_that_is_too_long_leaves_the_log_as_it_was(tmp_path):
    log = log_of(tmp_path, 5)
    with pytest.raises(ValueError, match="65,535"):
        log.append([b"fine", b"x" * 65_536])
    assert log.append([b"x" * 65_535]) == 5
    assert log.entry(5) == b"x" * 65_535
    assert verified(tmp_path).ok


def test_files_are_for_their_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        log_of(tmp_path, 3, 700)
    finally:
        os.umask(before)
    for path in [*tmp_path.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_an_append_of_one_entry_costs_few_syncs(tmp_path):
    class Counting(Disk):
        syncs = 0

        def write(self, path, data):
            self.syncs += 1
            super().write(path, data)

        def sync_folder(self, path):
            self.syncs += 1
            super().sync_folder(path)

    log_of(tmp_path, 3)
    disk = Counting()
    log = log_in(tmp_path, disk=disk)
    log.append([b"one"])
    assert disk.syncs == 7


def test_the_scratch_folder_never_holds_an_entry(tmp_path):
    log_of(tmp_path, 3).append([b"words of a record"])
    for path in (tmp_path / "scratch").iterdir():
        assert b"words" not in path.read_bytes()


def test_a_log_that_must_be_there_is_not_begun_anew(tmp_path):
    with pytest.raises(IntegrityError, match="no checkpoint"):
        log_in(tmp_path).open(at_least=1)
    log_of(tmp_path, 5)
    with pytest.raises(IntegrityError, match="shorter"):
        log_in(tmp_path).open(at_least=6)


def test_a_log_is_named_as_its_key(tmp_path):
    with pytest.raises(ValueError, match="origin"):
        LogFiles(tmp_path / "ledger", "ostiary.invalid/log/other", SIGNER, tmp_path / "scratch")


@pytest.mark.parametrize(
    "name", ["checkpoint", "tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1"]
)
def test_a_damaged_right_edge_is_not_built_upon(tmp_path, name):
    log_of(tmp_path, 300)
    path = tmp_path / "ledger" / name
    good = path.read_bytes()
    for damaged in (good[:20] + bytes([good[20] ^ 1]) + good[21:], good[:-1], b""):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            log_in(tmp_path).open()
    path.unlink()
    with pytest.raises(IntegrityError):
        log_in(tmp_path).open()


def test_an_older_checkpoint_that_was_put_back_is_not_built_upon(tmp_path):
    log_of(tmp_path, 300)
    older = files_of(tmp_path)["checkpoint"]
    for size in (301, 512, 700):
        log = log_in(tmp_path)
        log.append(entries_of(log.size, size))
        log.append([b"one more, so that the note of the last append does not explain it"])
        newest = files_of(tmp_path)["checkpoint"]
        (tmp_path / "ledger" / "checkpoint").write_bytes(older)
        with pytest.raises(IntegrityError):
            log_in(tmp_path).open()
        (tmp_path / "ledger" / "checkpoint").write_bytes(newest)


def test_proofs_between_all_sizes_hold(tmp_path):
    log = log_of(tmp_path, 530)
    for size in (1, 2, 255, 256, 257, 511, 512, 513, 530):
        root = expected_root(size)
        for index in {0, size // 2, size - 1}:
            proof = log.inclusion_proof(index, size)
            assert verify_inclusion(index, size, leaf_hash(log.entry(index)), proof, root)
        proof = log.consistency_proof(size, 530)
        assert verify_consistency(size, 530, root, log.root(), proof)


def test_a_proof_file_proves_its_entry_alone(tmp_path):
    log = log_of(tmp_path, 300)
    text = log.proof_file(258)
    proof = Proof.parse(text)
    assert text.startswith("c2sp.org/tlog-proof@v1\nindex 258\n")
    assert proof.text() == text
    assert proof.verify(log.entry(258), SIGNER.verifier_key) == log.checkpoint()
    with pytest.raises(IntegrityError):
        proof.verify(log.entry(257), SIGNER.verifier_key)
    with pytest.raises(ValueError, match="leaf"):
        log.proof_file(300)


def test_no_proof_is_made_from_damaged_files(tmp_path):
    log = log_of(tmp_path, 300)
    path = tmp_path / "ledger" / "tile/0/000"
    path.write_bytes(bytes(32) + path.read_bytes()[32:])
    with pytest.raises(IntegrityError):
        log.proof_file(1)


def test_clients_fetch_each_partial_tile_up_to_the_checkpoint(tmp_path):
    log = log_of(tmp_path, 300)
    files = files_of(tmp_path)
    hashes = b"".join(map(leaf_hash, entries_of(0, 300)))
    for path, data in files.items():
        assert log.resource(path) == data
    assert log.resource("tile/0/000.p/7") == hashes[: 7 * 32]
    assert log.resource("tile/0/001.p/3") == hashes[256 * 32 : 259 * 32]
    assert log.resource("tile/entries/001.p/1") == b"\x00\x08256:xxxx"
    for absent in (
        "tile/0/001.p/45",
        "tile/0/001",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/0/002.p/1",
        "tile/0/../0/000",
        "../scratch/append",
        "",
        "tile",
    ):
        assert log.resource(absent) is None


def test_a_reader_beside_the_writer_finds_what_a_wider_file_replaced(tmp_path):
    reader, writer = log_of(tmp_path, 3), log_in(tmp_path)
    proof = reader.inclusion_proof(1, 3)
    writer.append(entries_of(3, 9))
    assert reader.inclusion_proof(1, 3) == proof
    writer.append(entries_of(9, 300))
    assert reader.inclusion_proof(1, 3) == proof
    assert reader.checkpoint().size == 300


def test_a_missing_entry_is_an_error_and_not_an_end(tmp_path):
    log = log_of(tmp_path, 300)
    with pytest.raises(IntegrityError):
        list(log.read_entries(290, 301))
    (tmp_path / "ledger" / "tile/entries/000").unlink()
    with pytest.raises(IntegrityError):
        log.entry(7)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("index 258", "index 0258"),
        lambda text: text.replace("index 258", "index -1"),
        lambda text: text.replace("index 258", "extra \nindex 258"),
        lambda text: text.replace("index 258\n", ""),
        lambda text: text.replace("\n\n", "\n", 1),
        lambda text: text.replace("index 258\n", "index 258\nAAAA\n"),
        lambda text: text + "\n",
        lambda text: "",
    ],
)
def test_a_proof_file_has_one_spelling(tmp_path, damage):
    log = log_of(tmp_path, 300)
    with pytest.raises(IntegrityError):
        Proof.parse(damage(log.proof_file(258))).verify(log.entry(258), SIGNER.verifier_key)


def test_a_proof_file_carries_extra_data_that_proves_nothing(tmp_path):
    log = log_of(tmp_path, 3)
    plain = Proof.parse(log.proof_file(1))
    extra = Proof(plain.index, plain.hashes, plain.note, b"opening")
    assert f"\nextra {base64.b64encode(b'opening').decode()}\nindex 1\n" in extra.text()
    assert Proof.parse(extra.text()) == extra
    assert extra.verify(log.entry(1), SIGNER.verifier_key).size == 3
