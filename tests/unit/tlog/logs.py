"""Logs for tests: entries of uneven length, an edge at any size, older partial files."""

from ostiary.tlog.files import LogFiles
from ostiary.tlog.note import NoteSigner
from ostiary.tlog.tree import leaf_hash, root_of
from ostiary.tlog.verifier import verify_folder

SIGNER = NoteSigner.from_seed("ostiary.invalid/log/test", bytes(range(32)))
KEY = str(SIGNER.verifier_key)


def entries_of(start, end):
    return [b"%d:" % number + b"x" * (number % 7) for number in range(start, end)]


def log_in(home, **options):
    return LogFiles(home / "ledger", SIGNER.name, SIGNER, home / "scratch", **options)


def log_of(home, *sizes):
    """An open log that was appended to until it had each of the sizes in turn."""
    log = log_in(home)
    log.open()
    for size in sizes:
        log.append(entries_of(log.size, size))
    return log


def expected_root(size):
    return root_of(map(leaf_hash, entries_of(0, size)))


def files_of(home):
    ledger = home / "ledger"
    return {
        path.relative_to(ledger).as_posix(): path.read_bytes()
        for path in sorted(ledger.rglob("*"))
        if path.is_file()
    }


def verified(home, **options):
    return verify_folder(home / "ledger", KEY, **options)
