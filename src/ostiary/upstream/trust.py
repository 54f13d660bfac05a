"""Whose certificates count when the gateway calls somebody."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from ostiary.errors import ConfigurationError


def trust(environ: Mapping[str, str]) -> ssl.SSLContext | bool:
    """Whose certificates count: the system's roots or SSL_CERT_FILE, and REQUESTS_CA_BUNDLE.

    True is aiohttp's own context, which verifies and was made by OpenSSL's rules. Raises
    ConfigurationError where the bundle cannot be used.
    """
    bundle = environ.get("REQUESTS_CA_BUNDLE")
    if not bundle:
        return True
    context = ssl.create_default_context()
    try:
        if Path(bundle).is_dir():
            context.load_verify_locations(capath=bundle)
        else:
            context.load_verify_locations(cafile=bundle)
    except OSError as cause:
        raise ConfigurationError("REQUESTS_CA_BUNDLE: no certificates can be read there") from cause
    return context
