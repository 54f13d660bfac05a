"""Where a setting comes from, and which source wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from ostiary.config import load
from ostiary.errors import ConfigurationError
from tests.unit.config.loaded import KINDS, Folder

MAIN = """
[providers.main]
kind = "openai"
base_url = "http://127.0.0.1:9000/v1"
auth = "none"
[models.gpt-4o]
provider = "main"
"""


def test_flags_win_over_variables_over_the_file_over_defaults(folder: Folder) -> None:
    file = "[server]\nport = 1001\nhost = '127.0.0.2'\ntls = 'off'\n"
    environ = {"OSTIARY_SERVER__PORT": "1002", "OSTIARY_SERVER__HOST": "127.0.0.3"}
    server = folder.load(file, environ, {"server.port": 1003, "server.host": None}).server
    assert (server.port, server.host, server.workers) == (1003, "127.0.0.3", 1)


def test_a_variable_names_a_model_in_capitals(folder: Folder) -> None:
    environ = {"OSTIARY_MODELS__GPT-4O__UPSTREAM_NAME": "large"}
    models = folder.load(MAIN, environ).models
    assert {name: model.upstream_name for name, model in models.items()} == {"gpt-4o": "large"}


def test_variables_alone_make_a_model(folder: Folder) -> None:
    environ = {
        "OSTIARY_PROVIDERS__MAIN__KIND": "openai",
        "OSTIARY_PROVIDERS__MAIN__BASE_URL": "http://127.0.0.1:9000/v1",
        "OSTIARY_PROVIDERS__MAIN__AUTH": "none",
        "OSTIARY_MODELS__GPT-4O__PROVIDER": "main",
    }
    assert folder.load("", environ).hash == folder.load(MAIN).hash


def test_the_spelling_of_the_file_stays(folder: Folder) -> None:
    file = MAIN.replace("gpt-4o", "Llama-3")
    models = folder.load(file, {"OSTIARY_MODELS__LLAMA-3__UPSTREAM_NAME": "x"}).models
    assert list(models) == ["Llama-3"]


def test_a_provider_is_found_in_any_case(folder: Folder) -> None:
    file = MAIN.replace('provider = "main"', 'provider = "MAIN"')
    assert folder.load(file).hash == folder.load(MAIN).hash


def test_names_that_differ_in_case_alone_are_refused(folder: Folder) -> None:
    file = MAIN + '[models.GPT-4o]\nprovider = "main"\n'
    assert "models.GPT-4o" in folder.refusal(file)


def test_a_list_is_json(folder: Folder) -> None:
    server = folder.load("", {"OSTIARY_SERVER__TRUSTED_PROXIES": '["10.0.0.0/8"]'}).server
    assert server.trusted_proxies == ("10.0.0.0/8",)
    wrong = folder.refusal("", {"OSTIARY_SERVER__TRUSTED_PROXIES": "10.0.0.0/8"})
    assert "as JSON" in wrong["OSTIARY_SERVER__TRUSTED_PROXIES"]


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_true_is_true_in_any_case(folder: Folder, text: str) -> None:
    assert folder.load("", {"OSTIARY_IDENTITY__DEVELOPMENT": text}).identity.development


@pytest.mark.parametrize("text", ["", "x", "1.5", "1.0", "true", "[1]", "NaN", '"7"', "0", "-1"])
def test_a_number_is_a_number(folder: Folder, text: str) -> None:
    wrong = folder.refusal("", {"OSTIARY_LIMITS__FAILED_LOGINS": text})
    assert wrong == {"OSTIARY_LIMITS__FAILED_LOGINS": "expected a whole number of at least 1"}


def test_a_value_is_read_from_a_file(folder: Folder) -> None:
    (folder.path / "rate").write_text("123\n")
    environ = {"OSTIARY_LIMITS__REQUESTS_PER_MINUTE_FILE": "rate"}
    assert folder.load("", environ).limits.requests_per_minute == 123


def test_a_file_that_is_missing_is_told_without_its_name(folder: Folder) -> None:
    environ = {"OSTIARY_LIMITS__REQUESTS_PER_MINUTE_FILE": "hidden-place"}
    ((label, text),) = folder.refusal("", environ).items()
    assert label == "OSTIARY_LIMITS__REQUESTS_PER_MINUTE_FILE"
    assert "cannot be read" in text
    assert "hidden-place" not in text


def test_an_exact_key_wins_over_the_reading_as_a_file(folder: Folder) -> None:
    (folder.path / "key").write_text("sk-file\n")
    file = MAIN.replace('auth = "none"', "")
    provider = folder.load(file, {"OSTIARY_PROVIDERS__MAIN__API_KEY_FILE": "key"}).providers["main"]
    assert provider.api_key is None
    assert provider.api_key_file is not None
    assert provider.api_key_file.current().reveal() == "sk-file"


def test_a_file_may_hold_the_path_of_the_key(folder: Folder) -> None:
    (folder.path / "key").write_text("sk-file")
    (folder.path / "path").write_text("key\n")
    file = MAIN.replace('auth = "none"', "")
    environ = {"OSTIARY_PROVIDERS__MAIN__API_KEY_FILE_FILE": "path"}
    credential = folder.load(file, environ).providers["main"].credential
    assert credential is not None
    assert credential.current().reveal() == "sk-file"


def test_a_kind_that_ends_like_a_file_is_itself(folder: Folder) -> None:
    (folder.path / "action").write_text("mask")
    environ = {
        "OSTIARY_POLICY__KINDS__IBAN_FILE": "block",
        "OSTIARY_POLICY__KINDS__EMAIL_ADDRESS_FILE": "action",
    }
    assert folder.load("", environ).policy.kinds == {"iban_file": "block", "email_address": "mask"}


def test_two_variables_for_one_key_are_refused(folder: Folder) -> None:
    environ = {"OSTIARY_SERVER__PORT": "1", "OSTIARY_server__port": "2"}
    assert list(folder.refusal("", environ)) == ["OSTIARY_server__port"]


def test_a_key_of_a_stronger_source_replaces_the_file_of_a_weaker_one(folder: Folder) -> None:
    (folder.path / "key").write_text("sk-file")
    file = MAIN.replace('auth = "none"', 'api_key_file = "key"')
    credential = (
        folder.load(file, {"OSTIARY_PROVIDERS__MAIN__API_KEY": "sk-variable"})
        .providers["main"]
        .credential
    )
    assert credential is not None
    assert credential.current().reveal() == "sk-variable"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OSTIARY_LIMITS__REQUEST_PER_MINUTE", "OSTIARY_LIMITS__REQUESTS_PER_MINUTE"),
        ("OSTIARY_LIMIT__TOKENS_PER_HOUR", "OSTIARY_LIMITS__TOKENS_PER_HOUR"),
        ("OSTIARY_PROVIDER__MAIN__BASEURL", "OSTIARY_PROVIDERS__MAIN__BASE_URL"),
        ("OSTIARY_GATEWAY__PORT", "OSTIARY_SERVER__PORT"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_one_meant(
    folder: Folder, name: str, meant: str
) -> None:
    wrong = folder.refusal("", {name: "secret-value"})
    assert wrong == {name: f"unknown variable; did you mean {meant}?"}


@pytest.mark.parametrize(
    "name", ["OSTIARY___", "OSTIARY_SERVER__", "OSTIARY_SERVER__PORT__X", "OSTIARY_PROVIDERS__MAIN"]
)
def test_a_variable_that_is_no_key_is_refused(folder: Folder, name: str) -> None:
    assert list(folder.refusal("", {name: "1"})) == [name]


def test_variables_of_one_level_are_not_settings(folder: Folder) -> None:
    environ = {"OSTIARY_VECTORS": "x", "OTHER__THING": "y", "OSTIARY_HOME": "state"}
    assert folder.load("", environ).home == folder.path / "state"


def test_the_home_is_a_folder_here_by_default(folder: Folder) -> None:
    assert folder.load().home == folder.path / ".ostiary"
    assert folder.refusal("home = 'x'\n").keys() == {"home"}


def _load(path: Path, environ: dict[str, str], config: Path | None) -> int:
    found = load(flags={}, environ=environ, cwd=path, config_path=config, known_kinds=KINDS)
    return found.server.port


def test_the_file_is_the_flags_else_the_variables_else_the_one_here(tmp_path: Path) -> None:
    for number, name in enumerate(("ostiary.toml", "two.toml", "three.toml"), 1):
        (tmp_path / name).write_text(f"[server]\nport = {number}\n")
    environ = {"OSTIARY_CONFIG": "two.toml"}
    assert _load(tmp_path, {}, None) == 1
    assert _load(tmp_path, environ, None) == 2
    assert _load(tmp_path, environ, Path("three.toml")) == 3


@pytest.mark.parametrize(
    ("environ", "config", "label"),
    [({"OSTIARY_CONFIG": "none.toml"}, None, "OSTIARY_CONFIG"), ({}, Path("none"), "--config")],
)
def test_a_named_file_must_be_there(
    tmp_path: Path, environ: dict[str, str], config: Path | None, label: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{label}: .* cannot be read: no such file"):
        _load(tmp_path, environ, config)


@pytest.mark.parametrize(
    "content",
    [
        b"[server]\nhost = 'hidden' hidden\n",
        b"\xff\xfehidden",
        b"hidden = " + b"[" * 100_000,
        b"hidden = " + b"9" * 5000,
        b"[hidden\n",
    ],
)
def test_a_file_that_is_not_toml_is_refused_unquoted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ostiary.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"not TOML|not UTF-8") as caught:
        _load(tmp_path, {}, None)
    assert "hidden" not in str(caught.value)


def test_the_place_of_what_is_not_toml_is_told(tmp_path: Path) -> None:
    (tmp_path / "ostiary.toml").write_text("[server]\nport = = 1\n")
    with pytest.raises(ConfigurationError, match="line 2, column 8"):
        _load(tmp_path, {}, None)
