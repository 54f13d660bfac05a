"""Key Vault, PostgreSQL and Redis: private doors, identities instead of passwords, TLS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.network.inventory import Found, Inventory, shown
from ostiary.network.private_link import KEY_VAULT, OLD_REDIS, POSTGRESQL, REDIS
from ostiary.network.rules.rule import Problem, Rule, switch

_VAULT: Final = (KEY_VAULT.type,)
_SERVER: Final = (POSTGRESQL.type,)
_DATABASE: Final = (f"{REDIS.type}/databases",)


def _is_injected(server: Found) -> bool:
    """A server inside a subnet of its own has no public door to close."""
    return bool(server.get("network", "delegatedSubnetResourceId"))


def _weak_settings(inventory: Inventory) -> Iterator[Problem]:
    for setting in inventory.of(f"{POSTGRESQL.type}/configurations"):
        value = str(setting.get("value")).lower()
        plain = setting.name == "require_secure_transport" and value in ("off", "false", "0")
        old = setting.name == "ssl_min_protocol_version" and value in ("tlsv1", "tlsv1.1")
        if plain or old:
            yield Problem(setting, f"{setting.name} is {shown(setting.get('value'))}")


def _firewall(inventory: Inventory) -> Iterator[Problem]:
    kinds = (f"{POSTGRESQL.type}/firewallRules", f"{OLD_REDIS.type}/firewallRules")
    for rule in inventory.of(*kinds):
        yield Problem(rule, "it admits public addresses")


RULES: Final = (
    switch(
        "keyvault-public-access",
        "high",
        "The vault has no public door",
        "Whoever gets a token from anywhere could use the root key.",
        types=_VAULT,
        path=("publicNetworkAccess",),
        wanted=("Disabled",),
    ),
    switch(
        "keyvault-network-acls",
        "high",
        "The vault's own firewall denies by default",
        "Should the public door ever be opened, it would be open to all.",
        types=_VAULT,
        path=("networkAcls", "defaultAction"),
        wanted=("Deny",),
    ),
    switch(
        "keyvault-rbac",
        "medium",
        "Rights in the vault are roles",
        "Access policies cannot be narrowed to one key, and whoever may write the vault may grant "
        "themselves any of them.",
        types=_VAULT,
        path=("enableRbacAuthorization",),
        wanted=(True,),
    ),
    switch(
        "keyvault-purge-protection",
        "high",
        "A deleted vault can be had back",
        "Without purge protection one command destroys the root key, and with it every record.",
        types=_VAULT,
        path=("enablePurgeProtection",),
        wanted=(True,),
    ),
    switch(
        "keyvault-soft-delete",
        "high",
        "A deleted key can be had back",
        "Without soft delete a deleted key is gone at once.",
        types=_VAULT,
        path=("enableSoftDelete",),
        wanted=(True,),
        default=True,
    ),
    switch(
        "postgresql-public-access",
        "high",
        "The database has no public door",
        "Only a firewall rule would stand between the Internet and its sign-in.",
        types=_SERVER,
        path=("network", "publicNetworkAccess"),
        wanted=("Disabled",),
        unless=_is_injected,
    ),
    switch(
        "postgresql-password",
        "high",
        "The database takes no passwords",
        "A password works from everywhere until somebody changes it.",
        types=_SERVER,
        path=("authConfig", "passwordAuth"),
        wanted=("Disabled",),
    ),
    switch(
        "postgresql-entra",
        "high",
        "The database knows Entra ID",
        "Without it no identity of Azure can sign in, and passwords come back.",
        types=_SERVER,
        path=("authConfig", "activeDirectoryAuth"),
        wanted=("Enabled",),
    ),
    Rule(
        "postgresql-tls",
        "high",
        "The database speaks TLS 1.2 or later alone",
        "Rows and tokens would cross the network readable, or under broken protocols.",
        'Set require_secure_transport to "on" and ssl_min_protocol_version to "TLSv1.2".',
        _weak_settings,
    ),
    Rule(
        "data-firewall-rule",
        "medium",
        "No firewall rule admits public addresses",
        "It opens the moment somebody enables public access.",
        "Remove the firewallRules child; clients come by the private endpoint.",
        _firewall,
    ),
    switch(
        "redis-public-access",
        "high",
        "Redis has no public door",
        "Counters and throttles would be in reach of the Internet.",
        types=(REDIS.type, OLD_REDIS.type),
        path=("publicNetworkAccess",),
        wanted=("Disabled",),
    ),
    switch(
        "redis-tls-version",
        "high",
        "Redis speaks TLS 1.2 or later",
        "TLS 1.0 and 1.1 are broken.",
        types=(REDIS.type, OLD_REDIS.type),
        path=("minimumTlsVersion",),
        wanted=("1.2", "1.3"),
    ),
    switch(
        "redis-plaintext",
        "high",
        "Redis has no plain port",
        "Who listens on the network reads every counter and every token.",
        types=_DATABASE,
        path=("clientProtocol",),
        wanted=("Encrypted",),
        default="Encrypted",
    ),
    switch(
        "redis-non-tls-port",
        "high",
        "Azure Cache for Redis has no plain port",
        "Who listens on the network reads every counter and every token.",
        types=(OLD_REDIS.type,),
        path=("enableNonSslPort",),
        wanted=(False,),
        default=False,
    ),
    switch(
        "redis-access-keys",
        "high",
        "Redis takes no access keys",
        "A key is a password that works for everybody and is logged as nobody.",
        types=_DATABASE,
        path=("accessKeysAuthentication",),
        wanted=("Disabled",),
    ),
    switch(
        "redis-cache-access-keys",
        "high",
        "Azure Cache for Redis takes no access keys",
        "A key is a password that works for everybody and is logged as nobody.",
        types=(OLD_REDIS.type,),
        path=("disableAccessKeyAuthentication",),
        wanted=(True,),
    ),
)
