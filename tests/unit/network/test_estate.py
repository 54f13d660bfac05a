"""ESTATE.toml: what is wrong is refused by name of its key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.errors import ConfigurationError
from ostiary.network.estate import read_estate
from tests.unit.network.estates import TEXT, estate


def test_a_good_estate_is_read() -> None:
    found = read_estate(TEXT)
    assert found.name == "acme"
    assert [str(network) for network in found.clients] == ["10.20.0.0/16", "192.168.7.0/24"]
    assert [model.name for model in found.models] == ["gpt-4o", "gpt-4o-mini"]
    assert list(found.warnings()) == []


def test_services_may_stand_in_any_order() -> None:
    turned = TEXT.replace('"foundry", "keyvault"', '"keyvault", "foundry"')
    assert read_estate(turned) == read_estate(TEXT)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "acme"', 'name = "ac"', "name"),
        ('name = "acme"', 'name = "acme-prod"', "name"),
        ('name = "acme"', 'name = "Acme"', "name"),
        ('name = "acme"', 'name = "abcdefghijklm"', "name"),
        ('name = "acme"', "name = 7", "name"),
        ('name = "acme"\n', "", "name"),
        ('"westeurope"', '"West Europe"', "region"),
        ('"westeurope"', '"west-europe"', "region"),
        ('"westeurope"', '""', "region"),
        ('"redis"', '"mysql"', "services"),
        ('"redis"', '"foundry"', "services"),
        ('"container-apps"', '"vm"', "compute"),
        ('compute = "container-apps"\n', "", "compute"),
        ('"10.20.0.0/16"', '"0.0.0.0/0"', "clients"),
        ('"10.20.0.0/16"', '"::/0"', "clients"),
        ('"10.20.0.0/16", "192.168.7.0/24"', '"0.0.0.0/1", "128.0.0.0/1"', "clients"),
        ('"10.20.0.0/16"', '"10.20.0.1/16"', "clients"),
        ('"10.20.0.0/16"', '"192.168.0.0/16"', "clients"),
        ('"10.20.0.0/16"', '"172.17.4.0/24"', "clients"),
        ('["10.20.0.0/16", "192.168.7.0/24"]', "[]", "clients"),
        ('app = "10.44.1.0/24"', 'app = "10.44.0.128/25"', "ranges.app"),
        ('app = "10.44.1.0/24"', 'app = "10.45.1.0/24"', "ranges.app"),
        ('app = "10.44.1.0/24"', 'app = "10.44.1.1/24"', "ranges.app"),
        ('app = "10.44.1.0/24"', 'app = "10.44.1.0/28"', "ranges.app"),
        ('app = "10.44.1.0/24"', 'app = "10.44.1.0"', "ranges.app"),
        ('app = "10.44.1.0/24"', "app = 3", "ranges.app"),
        ('app = "10.44.1.0/24"\n', "", "ranges.app"),
        ('endpoints = "10.44.2.0/24"', 'endpoints = "10.44.1.0/24"', "ranges.endpoints"),
        ('endpoints = "10.44.2.0/24"', 'endpoints = "10.44.2.0/30"', "ranges.endpoints"),
        ('vnet = "10.44.0.0/16"', 'vnet = "172.16.0.0/12"', "ranges.vnet"),
        ('vnet = "10.44.0.0/16"', 'vnet = "8.44.0.0/16"', "ranges.vnet"),
        ('vnet = "10.44.0.0/16"', 'vnets = "10.44.0.0/16"', "ranges.vnets"),
        ("[ranges]", "[range]", "range"),
        ("[ranges]", 'colour = "red"\n[ranges]', "colour"),
        ('version = "2024-11-20"', 'version = ""', 'models."gpt-4o".version'),
        ('version = "2024-11-20"', 'versions = "1"', 'models."gpt-4o".versions'),
        ('[models."gpt-4o"]', '[models."gpt/4o"]', 'models."gpt/4o"'),
    ],
)
def test_what_is_wrong_is_refused_by_name(old: str, new: str, key: str) -> None:
    assert old in TEXT
    changed = TEXT.replace(old, new, 1)
    with pytest.raises(ConfigurationError) as refused:
        read_estate(changed)
    named = {line.split(": ")[0] for line in str(refused.value).splitlines()}
    assert key.replace('"gpt-4o"', "gpt-4o") in named


def test_everything_wrong_is_told_at_once() -> None:
    wrong = TEXT.replace('"acme"', '"A"').replace('"westeurope"', '"W"').replace('"redis"', '"x"')
    with pytest.raises(ConfigurationError) as refused:
        read_estate(wrong)
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "name",
        "region",
        "services",
    ]


def test_no_value_is_quoted() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_estate(TEXT.replace('"westeurope"', '"Hidden Place"'))
    assert "Hidden" not in str(refused.value)


def test_what_is_no_toml_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigurationError, match="line 1, column"):
        read_estate("name = acme")


def test_what_azure_is_likely_to_refuse_is_noted() -> None:
    small = read_estate(
        TEXT.replace('"acme"', '"7acme"').replace('"10.44.2.0/24"', '"10.44.2.0/28"')
    )
    assert [note.split(":")[0] for note in small.warnings()] == ["name", "ranges.endpoints"]


def test_27_is_the_smallest_range_of_container_apps_alone() -> None:
    small = TEXT.replace("10.44.1.0/24", "10.44.1.0/28").replace("container-apps", "none")
    assert read_estate(small).ranges.app.prefixlen == 28
    assert read_estate(TEXT.replace("10.44.1.0/24", "10.44.1.0/27")).ranges.app.prefixlen == 27


@given(st.text(max_size=40))
def test_no_text_ends_in_another_error(text: str) -> None:
    for changed in (text, TEXT.replace("westeurope", text), TEXT.replace("10.44.1.0/24", text)):
        try:
            read_estate(changed)
        except ConfigurationError:
            continue
        assert estate().name == "acme"
