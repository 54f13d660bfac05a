"""Pairs of files that cannot be served are named by their setting, and never quoted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ostiary.config import PemFile
from ostiary.edge.tls import CERT_KEY, KEY_KEY, Certificates
from ostiary.errors import ConfigurationError
from tests.simulator.certificates import Authority, Mounted

END = b"-----END CERTIFICATE-----\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def files(pair: Mounted) -> tuple[PemFile, PemFile]:
    return tuple(
        PemFile(pair.settings[f"OSTIARY_SERVER__TLS_{name}_FILE"], folder=Path("/"))
        for name in ("CERT", "KEY")
    )


@pytest.mark.parametrize(
    ("how", "setting"),
    [
        ("cert damaged", CERT_KEY),
        ("cert is a key", CERT_KEY),
        ("leaf last", KEY_KEY),
        ("key damaged", KEY_KEY),
        ("key is a cert", KEY_KEY),
        ("other key", KEY_KEY),
        ("cert missing", CERT_KEY),
        ("key missing", KEY_KEY),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, authority: Authority, how: str, setting: str
) -> None:
    pair = Mounted(tmp_path / "pair", authority)
    read = files(pair)
    chain, key, _ = authority.issue()
    leaf, _, issuer = chain.partition(END)
    certs = {
        "cert damaged": chain.replace(b"A", b"B"),
        "cert is a key": key,
        "leaf last": issuer + leaf + END,
    }
    keys = {
        "key damaged": key[:100] + b"\n",
        "key is a cert": chain,
        "other key": authority.issue()[1],
    }
    pair.write(certs.get(how, chain), keys.get(how, key))
    if how.endswith("missing"):
        read[how == "key missing"].file.unlink()
    with pytest.raises(ConfigurationError) as caught:
        Certificates(*read)
    assert str(caught.value).startswith(f"{setting}: ")
    assert "BEGIN" not in str(caught.value)


def test_a_certificate_is_for_the_names_in_it(tmp_path: Path, authority: Authority) -> None:
    pair = Mounted(tmp_path / "pair", authority)
    chain, key, _ = authority.issue(("127.0.0.1", "::1", "gateway.test"))
    pair.write(chain, key)
    found = Certificates(*files(pair))
    assert all(found.covers(name) for name in ("127.0.0.1", "[::1]", "gateway.test"))
    assert not any(found.covers(name) for name in ("127.0.0.2", "other.test", "localhost"))


def test_a_file_that_comes_back_is_taken_though_one_that_is_gone_is_not(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    async def test() -> None:
        pair = Mounted(tmp_path / "pair", authority)
        read = files(pair)
        found = Certificates(*read)
        kept = read[1].read()
        read[1].file.unlink()
        for _ in range(3):
            await found.refresh()
        assert capsys.readouterr().out.count("tls_files_refused") == 1
        read[1].file.write_bytes(kept)
        await found.refresh()
        pair.renew()
        await found.refresh()
        assert capsys.readouterr().out.count("tls_files_changed") == 1

    asyncio.run(test())
