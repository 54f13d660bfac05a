"""Whatever step a log is cut short at, it opens at the old or the new checkpoint and goes on."""

import contextlib
import errno
import os
import shutil

import pytest

from ostiary.errors import UnavailableError
from ostiary.tlog.disk import Disk
from tests.unit.tlog.logs import entries_of, expected_root, files_of, log_in, log_of, verified

# Within a bundle; filling one; filling two and a tile's worth above; from nothing.
GROWTHS = [(0, 1), (3, 5), (250, 256), (256, 257), (300, 900)]


class Killed(BaseException):
    """The process ends here; no handler of the program runs for it."""


class Mortal(Disk):
    """Stops before step `lives`; a write it stops in leaves the given part of its bytes."""

    def __init__(self, lives, part=0.0, death=Killed):
        self.lives, self.part, self.death = lives, part, death

    def _live(self):
        if self.lives == 0:
            raise self.death
        self.lives -= 1

    def write(self, path, data):
        if self.lives == 0 and self.part:
            path.write_bytes(data[: int(len(data) * self.part)])
        self._live()
        super().write(path, data)

    def make_folder(self, path):
        self._live()
        super().make_folder(path)

    def sync_folder(self, path):
        self._live()
        super().sync_folder(path)

    def replace(self, source, target):
        self._live()
        super().replace(source, target)

    def remove(self, path):
        self._live()
        super().remove(path)

    def remove_folder(self, path):
        self._live()
        super().remove_folder(path)


def survive(home, old, new, count=40):
    """Open what a crash left, see that nothing proven is lost, go on with other entries."""
    log = log_in(home)
    log.open(at_least=old)
    assert log.size in (old, new)
    assert log.root() == expected_root(log.size)
    assert verified(home, at_least=old).ok
    kept = log.size
    log.append([b"another %d" % number for number in range(count)])
    again = log_in(home)
    again.open(at_least=kept + count)
    assert list(again.read_entries(0, kept)) == entries_of(0, kept)
    assert verified(home, at_least=kept + count).ok
    return kept


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("old", "new"), GROWTHS)
def test_a_kill_at_any_step_of_an_append(tmp_path, old, new, part):
    base = tmp_path / "base"
    base.mkdir()
    log_of(base, old)
    kept = []
    for lives in range(100):
        home = tmp_path / str(lives)
        shutil.copytree(base, home)
        log = log_in(home)
        log.open()
        log._disk = Mortal(lives, part)
        try:
            log.append(entries_of(old, new))
        except Killed:
            kept.append(survive(home, old, new))
        else:
            break
    assert {old, new} == set(kept) | {log.size}
    assert len(kept) >= 6


@pytest.mark.parametrize(("old", "new"), GROWTHS)
def test_a_kill_at_any_step_of_the_recovery_too(tmp_path, old, new):
    base = tmp_path / "base"
    base.mkdir()
    log_of(base, old)
    for lives in range(3, 100, 4):
        cut = tmp_path / str(lives)
        shutil.copytree(base, cut)
        log = log_in(cut)
        log.open()
        log._disk = Mortal(lives, 0.5)
        try:
            log.append(entries_of(old, new))
            break
        except Killed:
            pass
        for later in range(100):
            home = tmp_path / f"{lives}-{later}"
            shutil.copytree(cut, home)
            try:
                log_in(home, disk=Mortal(later)).open(at_least=old)
                break
            except Killed:
                survive(home, old, new)
    assert lives > 3


def test_a_kill_at_any_step_of_the_beginning(tmp_path):
    for lives in range(100):
        home = tmp_path / str(lives)
        home.mkdir()
        try:
            log_in(home, disk=Mortal(lives, 0.5)).open()
            break
        except Killed:
            survive(home, 0, 0)
    assert lives >= 6


@pytest.mark.parametrize(("old", "new"), GROWTHS)
def test_a_failure_at_any_step_is_told_and_the_log_goes_on(tmp_path, old, new):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    base = tmp_path / "base"
    base.mkdir()
    log_of(base, old)
    for lives in range(100):
        home = tmp_path / str(lives)
        shutil.copytree(base, home)
        log = log_in(home)
        log.open()
        log._disk = Mortal(lives, 0.5, full)
        try:
            log.append(entries_of(old, new))
            break
        except UnavailableError:
            log._disk = Disk()
        assert log.size in (old, new)
        log.append(entries_of(log.size, new + 300))
        assert log.root() == expected_root(new + 300)
        assert verified(home).ok
    assert lives >= 6


class Volatile(Mortal):
    """Remembers what a power cut would leave: synced contents under synced names.

    A folder's names are as they were at its last sync; a folder that was never synced is empty.
    """

    def __init__(self, root, lives):
        super().__init__(lives)
        self.root, self.names = root, {}
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            self._keep(folder)

    def _keep(self, folder):
        self.names[folder] = {
            path.name: None if path.is_dir() else path.read_bytes() for path in folder.iterdir()
        }

    def write(self, path, data):
        super().write(path, data)
        if path.name in self.names.get(path.parent, {}):
            self.names[path.parent][path.name] = data

    def sync_folder(self, path):
        super().sync_folder(path)
        self._keep(path)

    def leave(self, target, folder=None):
        folder = folder or self.root
        target.mkdir()
        for name, data in self.names.get(folder, {}).items():
            if data is None:
                self.leave(target / name, folder / name)
            else:
                (target / name).write_bytes(data)


@pytest.mark.parametrize(("old", "new"), GROWTHS)
def test_a_power_cut_at_any_step_loses_nothing_that_was_acknowledged(tmp_path, old, new):
    base = tmp_path / "base"
    base.mkdir()
    log_of(base, old)
    for lives in range(100):
        home, left = tmp_path / str(lives), tmp_path / f"{lives}-left"
        shutil.copytree(base, home)
        log = log_in(home)
        log.open()
        log._disk = disk = Volatile(home, lives)
        try:
            log.append(entries_of(old, new))
        except Killed:
            disk.leave(left)
            survive(left, old, new)
        else:
            disk.leave(left)
            assert survive(left, new, new) == new
            break
    assert lives >= 6


@pytest.mark.parametrize("late", range(4, 9))
@pytest.mark.parametrize("early", range(4))
def test_what_a_recovery_removed_does_not_come_back_at_the_next_cut(tmp_path, late, early):
    """Cut late, so that new files stay; recover; cut early, before folders are synced again."""
    home = tmp_path / "first"
    home.mkdir()
    log_of(home, 250)
    for turn, lives in enumerate((late, early)):
        log = log_in(home)
        log._disk = disk = Volatile(home, 1000)
        log.open(at_least=250)
        disk.lives = lives
        size = log.size
        with contextlib.suppress(Killed):
            log.append(entries_of(size, size + 3 + turn))
        home = tmp_path / f"cut-{turn}"
        disk.leave(home)
    survive(home, size, size + 4)


def test_an_intent_that_was_cut_in_the_middle_says_nothing(tmp_path):
    log_of(tmp_path, 300)
    before = files_of(tmp_path)
    for torn in (b"", b"300", b"300 3", b"300 301", b"x", b"0300 301\n", b"300 1\n", b"1 300"):
        (tmp_path / "scratch" / "append").write_bytes(torn)
        log_in(tmp_path).open(at_least=300)
        assert files_of(tmp_path) == before
