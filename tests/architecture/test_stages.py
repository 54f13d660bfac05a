"""`ls src/ostiary/stages` is the pipeline."""

from __future__ import annotations

from ostiary.parts import part_names

ORDER = [
    "admit",
    "authn",
    "authz",
    "budget",
    "check",
    "detect",
    "forward",
    "guard",
    "keep",
    "ledger",
]


def test_the_stages_are_the_files_in_running_order() -> None:
    assert part_names("ostiary.stages") == ORDER
