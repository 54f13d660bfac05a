"""A part is there when its file is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ostiary.parts import part_names


def test_the_parts_are_the_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shelf_of_parts"
    (folder / "with_folder").mkdir(parents=True)
    (folder / "without_init").mkdir()
    for name in ("__init__.py", "iban.py", "email.py", "_digits.py", "notes.md", "table.sql"):
        (folder / name).write_text("raise SystemExit" if name == "iban.py" else "")
    (folder / "with_folder" / "__init__.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    assert part_names("shelf_of_parts") == ["email", "iban", "with_folder"]
    assert "shelf_of_parts.email" not in sys.modules


def test_a_folder_that_is_not_there_holds_nothing() -> None:
    assert part_names("ostiary.no_such_folder") == []
