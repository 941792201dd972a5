"""Certificates for tests: an authority and what it signs, as PEM files."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = datetime.timedelta(days=90)


class Authority:
    """Signs server certificates for 127.0.0.1 and localhost."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Weir test authority")])
        self.certificate = self._build(self.name, self.key, is_authority=True)

    def _build(self, subject: x509.Name, key, is_authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + LIFE).add_extension(x509.BasicConstraints(is_authority, None), critical=True))
        if not is_authority:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, common_name: str) -> tuple[str, str, int]:
        """(chain PEM, key PEM, serial number) of a new certificate with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = self._build(name, key, is_authority=False)
        chain = pem(certificate) + pem(self.certificate)
        return chain, private_pem(key), certificate.serial_number

    def write(self, common_name: str, chain_path: Path, key_path: Path) -> int:
        """Issues a certificate into files; key first, so that a reader never has the new chain without its key for
        long. Returns the serial number."""
        chain, key, serial = self.issue(common_name)
        key_path.write_text(key)
        chain_path.write_text(chain)
        return serial


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def private_pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
