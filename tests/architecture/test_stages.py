"""`ls src/ostiary/stages` is the pipeline."""

from __future__ import annotations

import pytest

from ostiary.parts import part_names
from tests.architecture.source import PACKAGE

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


@pytest.mark.skipif(not (PACKAGE / "stages").exists(), reason="src/ostiary/stages is not built yet")
def test_the_stages_are_the_files_in_running_order() -> None:
    assert part_names("ostiary.stages") == ORDER
