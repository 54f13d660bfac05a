"""The offline check: every byte is covered, and the record under the damage is named."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ostiary.tlog import verifier
from ostiary.tlog.checkpoint import Checkpoint
from ostiary.tlog.files import LogFiles
from ostiary.tlog.note import NoteSigner
from ostiary.tlog.tiles import encode_bundle
from ostiary.tlog.verifier import Report, verify_folder
from tests.unit.tlog.logs import (
    KEY,
    SIGNER,
    entries_of,
    files_of,
    log_in,
    log_of,
    verified,
)

SIZE = 300


def record_at(path, position):
    """The record that a byte of a file belongs to, from the format's definition."""
    if path == "checkpoint":
        return 0
    _, level, index = path.removesuffix(".p/44").removesuffix(".p/1").split("/")
    if level != "entries":
        return (int(index) * 256 + position // 32) * 256 ** int(level)
    record = int(index) * 256
    while position >= (length := len(encode_bundle(entries_of(record, record + 1)))):
        position, record = position - length, record + 1
    return record


def assert_each_byte_is_covered(home, step, changes):
    log_of(home, SIZE)
    files = files_of(home)
    assert len(files) == 6
    for name, good in files.items():
        path = home / "ledger" / name
        for position in range(0, len(good), step):
            for change in changes:
                damaged = bytearray(good)
                damaged[position] ^= change
                path.write_bytes(damaged)
                report = verified(home)
                assert not report.ok, (name, position, change)
                assert report.first_bad == record_at(name, position), (name, position, change)
        path.write_bytes(good)
    assert verified(home) == Report(ok=True, records=SIZE, first_bad=None, reason="")


def test_a_changed_byte_anywhere_is_found_at_its_record(tmp_path):
    assert_each_byte_is_covered(tmp_path, 7, [0x01])


@pytest.mark.slow
def test_every_changed_byte_is_found_at_its_record(tmp_path):
    assert_each_byte_is_covered(tmp_path, 1, [0x01, 0x80, 0xFF])


def test_an_absent_log_is_damage_and_no_exception(tmp_path):
    assert verified(tmp_path) == Report(
        ok=False, records=0, first_bad=0, reason="a file is missing"
    )
    (tmp_path / "ledger").write_bytes(b"")
    assert not verified(tmp_path).ok


def test_each_deleted_file_is_missed_at_its_first_record(tmp_path):
    log_of(tmp_path, SIZE)
    for name, good in files_of(tmp_path).items():
        path = tmp_path / "ledger" / name
        path.unlink()
        report = verified(tmp_path)
        assert (report.ok, report.first_bad) == (False, record_at(name, 0)), name
        path.write_bytes(good)
    assert verified(tmp_path).ok


def test_bundle_and_tile_missing_together_are_damage(tmp_path):
    log_of(tmp_path, SIZE)
    for name in ("tile/entries/000", "tile/0/000"):
        (tmp_path / "ledger" / name).unlink()
    assert verified(tmp_path).first_bad == 0
    shutil.rmtree(tmp_path / "ledger" / "tile")
    report = verified(tmp_path)
    assert (report.ok, report.records, report.first_bad) == (False, SIZE, 0)


def test_a_shorter_or_longer_file_is_damage(tmp_path):
    log_of(tmp_path, SIZE)
    for name, good in files_of(tmp_path).items():
        path = tmp_path / "ledger" / name
        for damaged in (good[:-1], good[: len(good) // 2], b"", good + b"\0", good + good):
            path.write_bytes(damaged)
            assert not verified(tmp_path).ok, name
        path.write_bytes(good)


def test_a_cut_bundle_is_damaged_from_the_first_record_that_it_lacks(tmp_path):
    log_of(tmp_path, SIZE)
    path = tmp_path / "ledger" / "tile/entries/000"
    path.write_bytes(encode_bundle(entries_of(0, 17)) + b"\x00")
    assert verified(tmp_path).first_bad == 17


@pytest.mark.parametrize(
    ("name", "first_bad"),
    [
        ("note.txt", None),
        ("checkpoint.tmp", None),
        ("tile/0/note", None),
        ("tile/0/000.p/044", None),
        ("tile/64/000", None),
        ("tile/0/001", SIZE),
        ("tile/entries/001.p/45", SIZE),
        ("tile/0/002.p/1", SIZE),
        ("tile/1/000.p/2", SIZE),
        ("tile/2/000.p/1", SIZE),
    ],
)
def test_a_file_that_the_tree_does_not_have_is_damage(tmp_path, name, first_bad):
    log_of(tmp_path, SIZE)
    path = tmp_path / "ledger" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"")
    report = verified(tmp_path)
    assert (report.ok, report.first_bad) == (False, first_bad)


def test_links_and_pipes_are_damage(tmp_path):
    log_of(tmp_path, SIZE)
    path = tmp_path / "ledger" / "tile/0/000"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert not verified(tmp_path).ok
    path.unlink()
    os.mkfifo(path)
    assert not verified(tmp_path).ok
    path.unlink()
    path.mkdir()
    assert not verified(tmp_path).ok


def test_older_partial_files_are_compared(tmp_path):
    log_of(tmp_path, 3)
    older = files_of(tmp_path)
    log = log_in(tmp_path)
    log.append(entries_of(3, SIZE))
    for name, good in older.items():
        path = tmp_path / "ledger" / name
        if name == "checkpoint":
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(good)
        assert verified(tmp_path).ok, name
        for position in range(len(good)):
            damaged = bytearray(good)
            damaged[position] ^= 1
            path.write_bytes(damaged)
            report = verified(tmp_path)
            assert not report.ok
            assert report.first_bad in range(3)
        for damaged in (b"", good[:-1], good + b"\0"):
            path.write_bytes(damaged)
            assert not verified(tmp_path).ok
        path.write_bytes(good)
    assert verified(tmp_path).ok


def test_a_shorter_log_is_damaged_from_its_size_on(tmp_path):
    log_of(tmp_path, SIZE)
    assert verified(tmp_path, at_least=SIZE).ok
    report = verified(tmp_path, at_least=SIZE + 1)
    assert (report.ok, report.records, report.first_bad) == (False, SIZE, SIZE)


def test_an_older_checkpoint_that_was_put_back_is_damage(tmp_path):
    log_of(tmp_path, 200)
    older = files_of(tmp_path)["checkpoint"]
    log = log_in(tmp_path)
    log.append(entries_of(200, SIZE))
    (tmp_path / "ledger" / "checkpoint").write_bytes(older)
    report = verified(tmp_path)
    assert (report.ok, report.records, report.first_bad) == (False, 200, 0)


def test_a_log_that_somebody_else_signed_is_damage(tmp_path):
    other = NoteSigner.from_seed(SIGNER.name, bytes(32))
    log = LogFiles(tmp_path / "ledger", other.name, other, tmp_path / "scratch")
    log.append(entries_of(0, 3))
    assert verify_folder(tmp_path / "ledger", str(other.verifier_key)).ok
    assert verified(tmp_path).first_bad == 0


def test_a_rewritten_record_does_not_lead_to_the_root(tmp_path):
    """Bundle and tiles changed so that they agree: only the signed root tells."""
    other = tmp_path / "other"
    other.mkdir()
    log_of(tmp_path, 3)
    log_in(other).append([b"rewritten", *entries_of(1, 3)])
    shutil.copytree(other / "ledger" / "tile", tmp_path / "ledger" / "tile", dirs_exist_ok=True)
    report = verified(tmp_path)
    assert (report.ok, report.records, report.first_bad) == (False, 3, 0)


def test_the_first_of_several_damages_is_named(tmp_path):
    log_of(tmp_path, SIZE)
    for name, position in (("tile/0/001.p/44", 40 * 32), ("tile/0/000", 77 * 32), ("x", 0)):
        path = tmp_path / "ledger" / name
        data = bytearray(path.read_bytes() if path.exists() else b"x")
        data[position] ^= 1
        path.write_bytes(data)
    assert verified(tmp_path).first_bad == 77


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512, 65_536, 65_800])
def test_sound_logs_of_many_sizes_are_sound(tmp_path, size):
    log_of(tmp_path, size)
    assert verified(tmp_path) == Report(ok=True, records=size, first_bad=None, reason="")


def test_damage_high_in_the_tree_is_named_by_the_first_record_under_it(tmp_path):
    log_of(tmp_path, 66_100)
    for name, position, record in (
        ("tile/1/000", 5 * 32, 5 * 256),
        ("tile/1/001.p/2", 40, 65_536 + 256),
        ("tile/2/000.p/1", 3, 0),
        ("tile/0/007", 9 * 32, 7 * 256 + 9),
    ):
        path = tmp_path / "ledger" / name
        good = path.read_bytes()
        path.write_bytes(good[:position] + bytes([good[position] ^ 4]) + good[position + 1 :])
        assert verified(tmp_path).first_bad == record, name
        path.write_bytes(good)


def test_an_empty_log_has_the_empty_root(tmp_path):
    log_of(tmp_path, 0)
    wrong = Checkpoint(SIGNER.name, 0, bytes(32)).sign(SIGNER)
    (tmp_path / "ledger" / "checkpoint").write_bytes(wrong)
    assert verified(tmp_path).first_bad == 0


def test_entries_are_handed_to_the_caller_s_own_check(tmp_path):
    log_of(tmp_path, SIZE)
    seen = []

    def check(record, entry):
        seen.append((record, entry))
        return "its number is wrong" if record >= 270 else ""

    report = verified(tmp_path, check_leaf=check)
    assert seen == list(enumerate(entries_of(0, SIZE)))
    assert report == Report(ok=False, records=SIZE, first_bad=270, reason="its number is wrong")


def test_progress_is_told_up_to_the_end(tmp_path):
    log_of(tmp_path, SIZE)
    steps = []
    verified(tmp_path, on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(256, SIZE), (SIZE, SIZE)]


@pytest.mark.parametrize("key", ["", "x", KEY[:-1], KEY + "=", KEY.replace("+", " "), "\udcff+0+"])
def test_a_wrong_key_verifies_nothing(tmp_path, key):
    log_of(tmp_path, 1)
    assert not verify_folder(tmp_path / "ledger", key).ok


def test_one_file_is_enough_to_check_a_log_elsewhere(tmp_path):
    log_of(tmp_path, SIZE)
    script = tmp_path / "verifier.py"
    shutil.copy(verifier.__file__, script)

    def run(*arguments):
        command = [sys.executable, "-I", str(script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert run(tmp_path / "ledger", KEY) == (0, "ok: 300 records\n")
    (tmp_path / "ledger" / "tile/entries/000").write_bytes(b"")
    assert run(tmp_path / "ledger", KEY) == (
        1,
        "damaged from record 0: a file has a wrong length\n",
    )
    assert run(tmp_path / "nowhere", KEY)[0] == 1
    assert run(tmp_path)[0] == 2


def test_the_verifier_imports_nothing_of_ostiary():
    tree = ast.parse(Path(verifier.__file__).read_text("utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or ".").split(".")[0])
    assert names <= {*sys.stdlib_module_names, "cryptography"}
