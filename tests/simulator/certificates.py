"""A certificate authority of the tests' own, and pairs of files as an operator would mount them."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("127.0.0.1", "localhost")


class Authority:
    """Issues leaves for 90 days, as public authorities do."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority of the tests")
        public = self._key.public_key()
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        self._signed = (
            _builder(self._name, self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(self._identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._signed.public_bytes(Encoding.PEM))

    def issue(self, names: tuple[str, ...] = NAMES) -> tuple[bytes, bytes, int]:
        """A new chain and its key in PEM, and the leaf's serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        leaf = (
            _builder(_name("gateway of the tests"), self._name, key.public_key())
            .add_extension(alternatives, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier),
                critical=False,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        chain = leaf.public_bytes(Encoding.PEM) + self._signed.public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return chain, private, leaf.serial_number

    def trust(self) -> ssl.SSLContext:
        """What a client needs that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.file))


class Mounted:
    """A pair of files behind one link, replaced together as Kubernetes does it."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._folder = folder
        self._authority = authority
        self._count = 0
        folder.mkdir()
        self.serial = self.renew()

    @property
    def settings(self) -> dict[str, str]:
        """The variables that serve this pair."""
        return {
            "OSTIARY_SERVER__TLS": "files",
            "OSTIARY_SERVER__TLS_CERT_FILE": str(self._folder / "now" / "tls.crt"),
            "OSTIARY_SERVER__TLS_KEY_FILE": str(self._folder / "now" / "tls.key"),
        }

    def renew(self, *, wrong_key: bool = False) -> int:
        """Swap the link to a new pair, or to one that does not fit; the new serial number."""
        chain, key, serial = self._authority.issue()
        if wrong_key:
            _, key, _ = self._authority.issue()
        self.write(chain, key)
        return serial

    def write(self, chain: bytes, key: bytes) -> None:
        """Swap the link to these files."""
        self._count += 1
        folder = self._folder / f"version-{self._count}"
        folder.mkdir()
        (folder / "tls.crt").write_bytes(chain)
        (folder / "tls.key").write_bytes(key)
        link = self._folder / "next"
        link.symlink_to(folder.name)
        os.replace(link, self._folder / "now")

    def rewrite(self) -> int:
        """Write a new pair over the files that are there, one after the other."""
        chain, key, serial = self._authority.issue()
        (self._folder / "now" / "tls.crt").write_bytes(chain)
        (self._folder / "now" / "tls.key").write_bytes(key)
        return serial


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=90))
    )
