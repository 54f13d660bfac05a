"""The only place that builds: settings → chosen files → foundation → pipeline → application.

The foundation (store, keys, log) is what commands and the server share; the gateway stands on it.
"""

from ostiary.assemble.chosen import detectors
from ostiary.assemble.foundation import Foundation, lay, only_server, recover, roles_of
from ostiary.assemble.gateway import Gateway, new_request_id, raise_gateway

__all__ = [
    "Foundation",
    "Gateway",
    "detectors",
    "lay",
    "new_request_id",
    "only_server",
    "raise_gateway",
    "recover",
    "roles_of",
]
