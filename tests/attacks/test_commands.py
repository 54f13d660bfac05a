"""The operator's commands, beside a running gateway and without one: effects, exit codes, JSON."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import pytest

from tests.simulator.command import ostiary
from tests.simulator.gateway import Gateway

KEY = re.compile(r"aif_t[0-9A-Za-z]{60}")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("beside") / "home") as gateway:
        yield gateway


@pytest.fixture(params=["beside", "without"])
def home(request, tmp_path):
    """A home in use, and one that no server has ever touched."""
    if request.param == "beside":
        return request.getfixturevalue("running").home
    assert ostiary(tmp_path / "home", "token", "--user", "ada").code == 0
    return tmp_path / "home"


def status(gateway, key: str) -> int:
    request = urllib.request.Request(
        f"{gateway.url}/v1/models", headers={"Authorization": f"Bearer {key}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def make(home, user="ada", *more: str):
    done = ostiary(home, "keys", "create", "--user", user, "--name", "n", *more, "--json")
    assert (done.code, done.err) == (0, "")
    return done.json


def test_a_key_made_beside_the_server_works_at_once_and_dies_at_once(running):
    for _ in range(3):
        made = make(running.home)
        assert status(running, made["apiKey"]) == 200
        assert status(running, made["apiKey"]) == 200
        assert ostiary(running.home, "keys", "revoke", made["keyId"]).code == 0
        assert status(running, made["apiKey"]) == 401


def test_a_token_issued_beside_the_server_works(running):
    token = ostiary(running.home, "token", "--user", "ada", "--role", "User").out.strip()
    assert status(running, token) == 200


def test_keys_are_made_listed_and_revoked(home):
    made = make(home, "vera", "--permission", "ai.models.deploy", "--expires-in", "60")
    assert KEY.fullmatch(made["apiKey"])
    assert made["permissions"] == ["ai.models.deploy"]
    (row,) = ostiary(home, "keys", "list", "--user", "vera", "--json").json["data"]
    assert (row["keyId"], row["state"], row["name"]) == (made["keyId"], "active", "n")
    assert row["expiresAt"] is not None
    everyone = ostiary(home, "keys", "list", "--json")
    assert row in everyone.json["data"]
    assert made["apiKey"][-40:] not in everyone.out
    revoked = ostiary(home, "keys", "revoke", made["keyId"], "--json")
    assert (revoked.code, revoked.json) == (0, {"keyId": made["keyId"], "state": "revoked"})
    assert ostiary(home, "keys", "revoke", made["keyId"]).code == 0
    (row,) = ostiary(home, "keys", "list", "--user", "vera", "--json").json["data"]
    assert row["state"] == "revoked"
    assert made["keyId"] in ostiary(home, "keys", "list").out


def test_a_new_person_holds_the_smallest_role_that_covers_what_was_asked(home):
    made = make(home, "pia", "--permission", "privacy.manage", "--permission", "audit.read")
    assert set(made["permissions"]) == {"privacy.manage", "audit.read"}
    done = ostiary(
        home, "keys", "create", "--user", "pia", "--name", "n", "--permission", "ai.chat.use"
    )
    assert done.code == 2
    assert "ai.chat.use" in done.err


def test_the_log_is_verified_exported_and_its_key_told(home):
    made = make(home, "lea")
    done = ostiary(home, "audit", "verify", "--json")
    assert (done.code, done.json["ok"], done.json["firstBad"]) == (0, True, None)
    exported = ostiary(home, "audit", "export", "--format", "ndjson")
    assert exported.code == 0
    records = exported.records
    assert [record["seq"] for record in records] == list(range(len(records)))
    assert len(records) >= done.json["records"]
    assert [r["event"] for r in records].count("genesis") == 1
    assert {"keys.create", "token.issue"} <= {record["action"] for record in records}
    assert not any(text in exported.out for text in ("lea", made["apiKey"], made["keyId"]))
    assert ostiary(home, "audit", "key").out.startswith("ostiary/log/")
    assert ostiary(home, "audit", "key", "--json").json["key"]


def test_doctor_and_config_need_no_server(home):
    done = ostiary(home, "doctor", "--json")
    states = {check["state"] for check in done.json["checks"]}
    assert done.code == (1 if "weak" in states else 0)
    assert states <= {"good", "weak", "unknown"}
    assert 0 <= done.json["score"] <= 100
    assert len(done.json["checks"]) >= 20
    assert len({check["layer"] for check in done.json["checks"]}) == 11
    assert ostiary(home, "config", "show", "--json").json["server"]["port"] == 8787
    assert ostiary(home, "config", "check", "--json").json["ok"] is True


def test_doctor_finds_and_mends_an_open_file(tmp_path):
    home = tmp_path / "home"
    assert ostiary(home, "token", "--user", "ada").code == 0
    (home / "ostiary.db").chmod(0o644)
    home.chmod(0o755)
    assert ostiary(home, "doctor").code == 1
    done = ostiary(home, "doctor", "--fix")
    assert "ostiary.db" in done.out
    assert (home / "ostiary.db").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_token_says_what_it_was_asked_to_say(home):
    done = ostiary(home, "token", "--user", "ada", "--role", "Admin", "--scope", "a b.c", "--json")
    assert done.json["scopes"] == ["a", "b.c"]
    assert done.json["roles"] == ["Admin"]
    assert done.json["token"].count(".") == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["keys", "revoke", "no-such-key"], 1),
        (["keys", "revoke", "no-such-key", "--json"], 1),
        (["keys", "revoke", ""], 1),
        (["keys", "list", "--user", "nobody"], 0),
        (["keys", "create", "--user", "ada"], 2),
        (["keys", "create", "--user", "ada", "--name", " "], 2),
        (["keys", "create", "--user", "ada", "--name", "n" * 201], 2),
        (["keys", "create", "--user", "ada", "--name", "\udcff"], 2),
        (["keys", "create", "--user", "", "--name", "n"], 2),
        (["keys", "create", "--user", "\udcff", "--name", "n"], 2),
        (["keys", "create", "--user", "ada", "--name", "n", "--permission", "root"], 2),
        (["keys", "create", "--user", "ada", "--name", "n", "--permission", "subjects.assert"], 2),
        (["keys", "create", "--user", "ada", "--name", "n", "--expires-in", "0"], 2),
        (["keys", "create", "--user", "ada", "--name", "n", "--expires-in", "9" * 30], 2),
        (["keys", "list", "--user", "\udcff"], 2),
        (["token"], 2),
        (["token", "--user", " "], 2),
        (["token", "--user", "ada", "--expires-in", "9999999"], 2),
        (["token", "--user", "ada", "--expires-in", "-" + "9" * 30], 2),
        (["token", "--user", "ada", "--role", "\udcff"], 2),
        (["token", "--user", "ada", "--scope", "\udcff"], 2),
        (["audit", "export", "--format", "xml"], 2),
        (["audit", "verify", "--config", "missing.toml"], 2),
        (["audit", "nothing"], 2),
        (["nothing"], 2),
        ([], 2),
        (["serve", "--port", "99999"], 2),
        (["serve", "--workers", "2"], 2),
        (["serve", "--host", "0.0.0.0"], 2),
    ],
    ids=repr,
)
def test_exit_codes(tmp_path_factory, home_without, arguments, code):
    done = ostiary(home_without, *arguments)
    assert done.code == code
    if code:
        assert done.err.strip() or not arguments
        assert done.out == "" or not arguments


@pytest.fixture(scope="module")
def home_without(tmp_path_factory):
    home = tmp_path_factory.mktemp("without") / "home"
    assert ostiary(home, "token", "--user", "ada").code == 0
    return home


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit", "verify"],
        ["audit", "export"],
        ["audit", "key"],
        ["keys", "list"],
        ["keys", "revoke", "x"],
    ],
    ids=" ".join,
)
def test_without_any_state_a_command_says_so_and_makes_none(tmp_path, arguments):
    for home in (tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").write_text("not a folder")
        done = ostiary(home, *arguments)
        assert (done.code, done.out) == (3, "")
        assert "There is no state in" in done.err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["ostiary.db", "keystore.db", "root.key"])
def test_a_file_that_is_not_what_it_should_be_is_told_in_words(tmp_path, name):
    home = tmp_path / "home"
    assert ostiary(home, "token", "--user", "ada").code == 0
    (home / name).write_bytes(b"this is no such file, it only looks like one " * 200)
    done = ostiary(home, "keys", "list", "--json")
    assert done.code in (2, 3)
    assert done.err.strip()


def test_what_the_operator_did_is_on_record_without_a_name(home):
    before = len(ostiary(home, "audit", "export").records)
    ostiary(home, "keys", "revoke", make(home, "zoe")["keyId"])
    new = ostiary(home, "audit", "export").records[before:]
    mine = [r for r in new if r["identity"] == "operator"]
    assert [r["action"] for r in mine] == ["keys.create", "keys.revoke"]
    assert len({r["target"] for r in mine}) == 1
    assert "zoe" not in json.dumps(new)
