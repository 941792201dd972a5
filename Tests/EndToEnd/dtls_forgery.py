"""DTLS 1.2 records with right keys and wrong contents, as an authenticated peer could send them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import struct

from aiortc import RTCCertificate
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\xfe\xfd"
# Suites whose keys are derived here: AES-128-GCM with SHA-256.
CIPHERS = b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
KEY_LENGTH, SALT_LENGTH = 16, 4


def prf(secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """P_SHA256 of TLS 1.2 (RFC 5246 section 5)."""
    out, a = b"", label + seed
    while len(out) < length:
        a = hmac.new(secret, a, hashlib.sha256).digest()
        out += hmac.new(secret, a + label + seed, hashlib.sha256).digest()
    return out[:length]


@contextlib.contextmanager
def forged_records(monkeypatch):
    """Gives `forge(transport, content_type, number, payload)`, for peers of aiortc that are made meanwhile."""
    secrets: dict[bytes, bytes] = {}

    def keep(_, line: bytes) -> None:
        label, client_random, secret = line.split()
        if label == b"CLIENT_RANDOM":
            secrets[bytes.fromhex(client_random.decode())] = bytes.fromhex(secret.decode())

    make = RTCCertificate._create_ssl_context

    def make_watched(self, *arguments, **options):
        context = make(self, *arguments, **options)
        context.set_keylog_callback(keep)
        context.set_cipher_list(CIPHERS)
        return context

    def forge(transport, content_type: int, number: int, payload: bytes) -> bytes:
        connection = transport._ssl
        client_random = connection.client_random()
        block = prf(secrets[client_random], b"key expansion", connection.server_random() + client_random,
                    2 * (KEY_LENGTH + SALT_LENGTH))
        # RFC 5288: client key, server key, client salt, server salt. The peers here are DTLS clients, as the server
        # prefers to be passive.
        key, salt = block[:KEY_LENGTH], block[2 * KEY_LENGTH:2 * KEY_LENGTH + SALT_LENGTH]
        sequence = struct.pack(">Q", 1 << 48 | number)
        kind = bytes([content_type]) + VERSION
        sealed = AESGCM(key).encrypt(salt + sequence, payload, sequence + kind + struct.pack(">H", len(payload)))
        return kind + sequence + struct.pack(">H", 8 + len(sealed)) + sequence + sealed

    monkeypatch.setattr(RTCCertificate, "_create_ssl_context", make_watched)
    yield forge
