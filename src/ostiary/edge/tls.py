"""TLS towards callers: Mozilla's intermediate profile, and certificates that change while it runs.

TLS 1.2 and 1.3, AEAD suites with forward secrecy. Each new handshake gets the pair of files that
was read last and fits; open connections keep theirs.
"""

from __future__ import annotations

import hashlib
import ssl
from ipaddress import ip_address
from typing import Final

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ostiary.config import PemFile
from ostiary.errors import ConfigurationError

log = structlog.get_logger("ostiary")

POLL_SECONDS: Final = 2.0
HANDSHAKE_SECONDS: Final = 10.0
CERT_KEY, KEY_KEY = "server.tls_cert_file", "server.tls_key_file"

_SUITES_OF_1_2: Final = ":".join(
    f"ECDHE-{signature}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for signature in ("ECDSA", "RSA")
)
_GROUPS: Final = "X25519:P-256:P-384"
# Before Python 3.15 the standard library can name one group alone. This is the one that
# RFC 8446 §9.1 obliges everybody to know; it costs a client that guessed another a round trip.
_ONE_GROUP: Final = "prime256v1"


class Certificates:
    """The pair of files as contexts for handshakes; `context` is the one to listen with."""

    def __init__(self, cert: PemFile, key: PemFile) -> None:
        """Read the pair; ConfigurationError names the key whose file is wrong."""
        self._cert, self._key = cert, key
        self._digest, self.context = self._load()
        self._current = self.context
        self._refused: bytes | str | None = None
        # Called in every handshake, with or without a server name in it.
        self.context.sni_callback = self._choose

    def covers(self, host: str) -> bool:
        """Whether the certificate in use is for this name or address ("[::1]" included)."""
        leaf = x509.load_pem_x509_certificates(self._cert.read())[0]
        try:
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return False
        try:
            return ip_address(host.strip("[]")) in names.get_values_for_type(x509.IPAddress)
        except ValueError:
            return host in names.get_values_for_type(x509.DNSName)

    async def refresh(self) -> None:
        """Use the files as they are now; a pair that does not fit leaves the former in use.

        What is wrong is logged once for each state of the files.
        """
        try:
            state: bytes | str = self._state()
        except (OSError, ValueError) as cause:
            state = type(cause).__name__
        if state == self._digest:
            self._refused = None
            return
        if state == self._refused:
            return
        try:
            self._digest, self._current = self._load()
        except ConfigurationError as cause:
            self._refused = state
            log.error("tls_files_refused", cause=str(cause))
        else:
            self._refused = None
            log.info("tls_files_changed")

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._current

    def _state(self) -> bytes:
        pair = (self._cert.read(), self._key.read())
        return hashlib.sha256(b"".join(hashlib.sha256(item).digest() for item in pair)).digest()

    def _load(self) -> tuple[bytes, ssl.SSLContext]:
        """The pair's digest and its context, of one state of both files."""
        cert, key = _read(self._cert, CERT_KEY), _read(self._key, KEY_KEY)
        before = hashlib.sha256(hashlib.sha256(cert).digest() + hashlib.sha256(key).digest())
        _check_pair(cert, key)
        context = _profile()
        try:
            context.load_cert_chain(self._cert.file, self._key.file, password=_no_password)
            unchanged = self._state() == before.digest()
        except (OSError, ValueError) as cause:
            raise ConfigurationError(f"{CERT_KEY}: the pair cannot be used") from cause
        if not unchanged:
            raise ConfigurationError(f"{CERT_KEY}: the files change just now")
        return before.digest(), context


def _profile() -> ssl.SSLContext:
    """Mozilla's intermediate profile (wiki.mozilla.org/Security/Server_Side_TLS, 5.7)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES_OF_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.set_alpn_protocols(["http/1.1"])
    set_groups = getattr(context, "set_groups", None)
    if set_groups is not None:
        set_groups(_GROUPS)
    else:
        context.set_ecdh_curve(_ONE_GROUP)
    return context


def _read(file: PemFile, key: str) -> bytes:
    try:
        return file.read()
    except OSError as cause:
        reason = (cause.strerror or "unknown reason").lower()
        raise ConfigurationError(f"{key}: the file cannot be read: {reason}") from cause
    except ValueError as cause:
        raise ConfigurationError(f"{key}: expected {cause}") from cause


def _check_pair(cert: bytes, key: bytes) -> None:
    try:
        leaf = x509.load_pem_x509_certificates(cert)[0]
        public = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise ConfigurationError(f"{CERT_KEY}: expected certificates in PEM") from cause
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without its cause, which might speak of the key.
        raise ConfigurationError(
            f"{KEY_KEY}: expected a private key in PEM, without a passphrase"
        ) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise ConfigurationError(
            f"{KEY_KEY}: not the key of the first certificate in {CERT_KEY}; the leaf comes first"
        )


def _no_password() -> str:
    """Nobody is there to type one; without this OpenSSL would ask on the terminal."""
    return ""
