"""Loads settings in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ostiary.config import Settings, load
from ostiary.errors import ConfigurationError

KINDS = frozenset({"email_address", "iban", "iban_file"})


class Folder:
    """A working folder; `load` takes the file's text, variables and flags."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(
        self,
        toml: str = "",
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> Settings:
        (self.path / "ostiary.toml").write_text(toml, "utf-8")
        return load(
            flags=flags or {},
            environ=environ or {},
            cwd=self.path,
            config_path=None,
            known_kinds=KINDS,
        )

    def refusal(
        self,
        toml: str = "",
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> dict[str, str]:
        """What is wrong, by the key or variable that each line names."""
        with pytest.raises(ConfigurationError) as caught:
            self.load(toml, environ, flags)
        lines = str(caught.value).splitlines()
        return dict(line.split(": ", 1) for line in lines)
