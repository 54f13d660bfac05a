"""What settings must be, alone and together; every refusal names the key and quotes nothing."""

from __future__ import annotations

import pytest

from tests.unit.config.loaded import Folder

TENANT = "tenants = ['6f6b0f0e-6a1c-4d3e-9c3a-0d0f7a1f2b3c']\n"
AUDIENCE = "audiences = ['api://ostiary']\n"
ENTRA = f"[identity]\n{TENANT}{AUDIENCE}"
AZURE = "[providers.main]\nkind = 'azure'\nbase_url = 'https://name.openai.azure.com'\n"
ECHO = "[providers.e]\nkind = 'echo'\n[models.m]\n"
E_CONTEXT = "providers.e.user_security_context"
MAIN = "[providers.main]\nkind = 'openai'\nbase_url = 'http://127.0.0.1:9000/v1'\n"


def test_nothing_needs_to_be_set(folder: Folder) -> None:
    settings = folder.load()
    assert settings.server.host == "127.0.0.1"
    assert settings.identity.development
    assert list(settings.models) == ["gpt-4o", "gpt-4o-mini", "gpt-35-turbo"]
    assert {model.provider for model in settings.models.values()} == {"echo"}
    assert settings.providers["echo"].kind == "echo"


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("[server]\nprot = 1", "server.prot"),
        ("[server]\nport = '8787'", "server.port"),
        ("[server]\nport = 8787.0", "server.port"),
        ("[server]\nport = true", "server.port"),
        ("[server]\nport = 70000", "server.port"),
        ("[server]\nhost = ''", "server.host"),
        ("[server]\nhost = 'a:1'", "server.host"),
        ("[server]\nhosts = []", "server.hosts"),
        ("[server]\nhosts = 'a'", "server.hosts"),
        ("[server]\nhosts = ['a:1']", "server.hosts"),
        ("[server]\ntrusted_proxies = ['10.0.0.1/8']", "server.trusted_proxies"),
        ("[server]\nworkers = 2", "server.workers"),
        ("[server]\ntls_key_file = 'missing.pem'", "server.tls_key_file"),
        ("[server]\ntls = 'proxy'", "server.tls"),
        ("[server]\ntls_cert_file = 'x'", "server.tls_cert_file"),
        ("server = 1", "server"),
        ("[identity]\nauthority = 'http://login.example'", "identity.authority"),
        ("[identity]\ntenants = ['common']\n" + AUDIENCE, "identity.tenants"),
        ("[identity]\n" + TENANT, "identity.audiences"),
        ("[identity]\n" + AUDIENCE, "identity.tenants"),
        ("[identity]\ntenants = []\n" + AUDIENCE, "identity.tenants"),
        ("[identity]\naudiences = []\n" + TENANT, "identity.audiences"),
        ("[identity]\ndevelopment = true\n" + TENANT + AUDIENCE, "identity.development"),
        (
            "[identity]\naudiences = ['https://ai.azure.com/.default']\n" + TENANT,
            "identity.audiences",
        ),
        ("[providers.main]\nkind = 'bedrock'", "providers.main.kind"),
        ("[providers.main]\nkind = 'azure'\nauth = 'entra'", "providers.main.base_url"),
        (AZURE + "auth = 'none'", "providers.main.auth"),
        (AZURE + "auth = 'entra'\napi_key = 'sk'", "providers.main.auth"),
        (AZURE + "api_key = 'sk'\nscope = 'https://a.b/.default'", "providers.main.scope"),
        (AZURE + "auth = 'entra'\nscope = 'https://a.b/'", "providers.main.scope"),
        (AZURE + "api_key = 'sk'\napi_version = 'latest'", "providers.main.api_version"),
        (
            AZURE + "api_key = 'sk'\nuser_security_context = true\napi_version = '2024-10-21'",
            "providers.main.user_security_context",
        ),
        (MAIN + "api_key = 'sk'\napi_version = '2024-10-21'", "providers.main.api_version"),
        (
            MAIN + "api_key = 'sk'\nuser_security_context = true",
            "providers.main.user_security_context",
        ),
        ("[providers.e]\nkind = 'echo'\nuser_security_context = true", E_CONTEXT),
        (MAIN.replace("127.0.0.1", "10.0.0.1") + "auth = 'entra'", "providers.main.base_url"),
        ("[providers.main]\nbase_url = 'http://a.example'", "providers.main.kind"),
        ("[providers.main]\nkind = 'openai'\nauth = 'none'", "providers.main.base_url"),
        (MAIN, "providers.main.api_key_file"),
        (MAIN + "auth = 'oauth'", "providers.main.auth"),
        (MAIN + "auth = 'none'\napi_key = 'sk'", "providers.main.auth"),
        (MAIN + "api_key = 'two words'", "providers.main.api_key"),
        (MAIN + "api_key = 1", "providers.main.api_key"),
        (MAIN + "api_key_file = 'none'", "providers.main.api_key_file"),
        (MAIN + "api_key = 'sk'\ntimeout_seconds = 0", "providers.main.timeout_seconds"),
        (MAIN + "api_key = 'sk'\ntimeout_seconds = inf", "providers.main.timeout_seconds"),
        ("[providers.e]\nkind = 'echo'\napi_key = 'sk'", "providers.e.api_key"),
        ("[providers.echo]\nkind = 'openai'\nauth = 'none'\nbase_url = 'http://a.b'", "models"),
        ("[providers.'a b']\nkind = 'echo'", 'providers."a b"'),
        ("[models.m]\nprovider = 'gone'", "models.m.provider"),
        ("[models.m]\nupstream_name = 'x'", "models.m.provider"),
        (ECHO + "provider = 'e'\nproviders = ['e']", "models.m.provider"),
        (ECHO + "providers = []", "models.m.providers"),
        (ECHO + "providers = ['e', 'gone']", "models.m.providers"),
        (ECHO + "providers = ['e', 'E']", "models.m.providers"),
        ("[limits]\nrequests_per_minute = 0", "limits.requests_per_minute"),
        ("[limits]\ntokens_per_hour = -1", "limits.tokens_per_hour"),
        ("[policy]\nmode = 'off'", "policy.mode"),
        ("[policy]\nopaque = 'allow'", "policy.opaque"),
        ("[policy.kinds]\nemail = 'mask'", "policy.kinds.email"),
        ("[policy.kinds]\niban = 'placeholder'", "policy.kinds.iban"),
        ("[store]\nkind = 'postgres'", "store.kind"),
        ("[store]\nrecord = 'all'", "store.record"),
        ("[counters]\nkind = 'redis'", "counters.kind"),
        ("[keyvault]\nkind = 'azure'", "keyvault.kind"),
        ("[alerts]\nurls = []", "alerts"),
        ("[roles.Helper]", "roles.Helper.permissions"),
        ("[roles.Helper]\npermissions = ['subjects.assert']", "roles.Helper.permissions"),
        ("[roles.admin]\npermissions = ['ai.chat.use']", "roles.admin"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_key(folder: Folder, toml: str, key: str) -> None:
    assert list(folder.refusal(toml)) == [key]


@pytest.mark.parametrize(
    ("toml", "meant"),
    [
        ("[server]\nprot = 1", "server.port"),
        ("[serfer]\nport = 1", "server"),
        ("port = 1", "server.port"),
        ("[policy.kinds]\nemail_adress = 'mask'", "policy.kinds.email_address"),
        ("[providers.main]\nkind='echo'\nbase_ulr='x'", "providers.main.base_url"),
        ("[models.m]\nprovider = 'mian'\n[providers.main]\nkind = 'echo'", "main"),
    ],
)
def test_the_key_that_was_meant_is_suggested(folder: Folder, toml: str, meant: str) -> None:
    (text,) = folder.refusal(toml).values()
    assert text.endswith(f"did you mean {meant}?")


def test_all_that_is_wrong_is_told_at_once(folder: Folder) -> None:
    file = "[server]\nprot = 1\nworkers = 9\n[limits]\nfailed_logins = 0\n[models.m]\nprovider='x'"
    wrong = folder.refusal(file, {"OSTIARY_SERVER__TLS": "x", "OSTIARY_A__B": "1"})
    assert set(wrong) == {
        "OSTIARY_A__B",
        "OSTIARY_SERVER__TLS",
        "server.prot",
        "server.workers",
        "limits.failed_logins",
        "models.m.provider",
    }


def test_no_value_is_quoted(folder: Folder) -> None:
    file = (
        "[server]\nhost='hidden:1'\nport='hidden'\nhosts=['hidden:1']\ntls='hidden'\n"
        "trusted_proxies=['hidden']\n[identity]\ndevelopment='hidden'\nauthority='hidden'\n"
        "tenants=['hidden']\naudiences=['hidden hidden']\n[policy.kinds]\niban='hidden'\n"
        "[providers.main]\nkind='hidden'\nbase_url='http://hidden@x'\napi_key='hidden hidden'\n"
        "api_key_file='hidden'\ntimeout_seconds='hidden'\nauth='hidden'\n"
        "[models.m]\nprovider='hidden'\nupstream_name=['hidden']\n"
        "[roles.x]\npermissions=['hidden']\n[limits]\nfailed_logins='hidden'\n"
    )
    wrong = folder.refusal(file, {"OSTIARY_STORE__KIND": "hidden"})
    assert len(wrong) >= 18
    assert not [text for text in wrong.values() if "hidden" in text]


def test_a_listener_for_others_needs_tls_and_a_real_identity(folder: Folder) -> None:
    proxy = "[server]\nhost = '0.0.0.0'\ntls = 'proxy'\ntrusted_proxies = ['10.0.0.0/8']\n"
    assert folder.load(proxy + ENTRA).server.host == "0.0.0.0"
    assert "development identity" in folder.refusal(proxy)["server.host"]
    bare = "[server]\nhost = '::'\n" + ENTRA
    assert "TLS" in folder.refusal(bare)["server.host"]
    assert "127.0.0.1" in folder.refusal(bare)["server.host"]


def test_tls_from_files_needs_both_and_is_enough_for_others(folder: Folder) -> None:
    for name in ("cert", "key"):
        (folder.path / f"{name}.pem").write_text("-----BEGIN SOMETHING-----\n")
    cert, key = "tls_cert_file = 'cert.pem'\n", "tls_key_file = 'key.pem'\n"
    files = "[server]\nhost = '0.0.0.0'\ntls = 'files'\n"
    found = folder.load(files + cert + key + ENTRA).server
    assert found.tls_key_file.file == folder.path / "key.pem"
    assert set(folder.refusal(files + ENTRA)) == {"server.tls_cert_file", "server.tls_key_file"}
    assert set(folder.refusal(files + cert + ENTRA)) == {"server.tls_key_file"}
    assert set(folder.refusal("[server]\n" + cert + key)) == {
        "server.tls_cert_file",
        "server.tls_key_file",
    }
    assert "development identity" in folder.refusal(files + cert + key)["server.host"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_alone_needs_neither(folder: Folder, host: str) -> None:
    assert folder.load(f"[server]\nhost = '{host}'").server.host == host


def test_limits_take_any_whole_number_from_one(folder: Folder) -> None:
    limits = folder.load(f"[limits]\ntokens_per_hour = 1\nfailed_logins = {10**30}").limits
    assert (limits.tokens_per_hour, limits.failed_logins) == (1, 10**30)


def test_a_role_holds_known_permissions(folder: Folder) -> None:
    roles = folder.load("[roles.Helper]\npermissions = ['ai.chat.use', 'audit.read']").roles
    assert roles["Helper"].permissions == ("ai.chat.use", "audit.read")


def test_the_providers_of_a_model_are_asked_in_their_order(folder: Folder) -> None:
    file = "[providers.One]\nkind = 'echo'\n[providers.two]\nkind = 'echo'\n[models.m]\n"
    settings = folder.load(file + "providers = ['two', 'one']")
    assert settings.models["m"].chain == ("two", "One")
    assert settings.redacted()["models"]["m"] == {
        "providers": ["two", "One"],
        "upstream_name": "m",
    }
    assert folder.load(file + "provider = 'two'").models["m"].chain == ("two",)
    given = {"OSTIARY_MODELS__M__PROVIDERS": '["one", "two"]'}
    assert folder.load(file, given).models["m"].chain == ("One", "two")


def test_azure_is_spoken_to_with_a_key_or_a_token(folder: Folder) -> None:
    for more in ("api_key = 'sk'", "auth = 'entra'", "api_key = 'sk'\napi_version = '2024-10-21'"):
        assert folder.load(AZURE + more).providers["main"].kind == "azure"
    assert folder.load(MAIN + "auth = 'entra'").providers["main"].auth == "entra"
