"""Settings: TOML, `OSTIARY_*` variables and flags → one frozen, checked tree.

tree      what can be set: every key, its type, its default
sources   file, variables and flags, laid over each other
decode    raw values → the tree, with every wrong one noted
forms     hosts, networks, URLs, tenants, audiences
rules     what settings must be together
loading   the way through all of these
schema    the JSON Schema of the file
"""

from ostiary.config.loading import load
from ostiary.config.pem import PemFile
from ostiary.config.schema import json_schema
from ostiary.config.secret import Secret, SecretFile
from ostiary.config.tree import (
    Counters,
    Identity,
    KeyVault,
    Limits,
    Model,
    Policy,
    Provider,
    Role,
    Server,
    Settings,
    Store,
)

__all__ = [
    "Counters",
    "Identity",
    "KeyVault",
    "Limits",
    "Model",
    "PemFile",
    "Policy",
    "Provider",
    "Role",
    "Secret",
    "SecretFile",
    "Server",
    "Settings",
    "Store",
    "json_schema",
    "load",
]
