"""Tokens for tests, good and bad: PyJWT for what it can make, by hand what it refuses to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SECRET = "0123456789abcdef0123456789abcdef"
ALL = {"publish": ["*"], "play": ["*"]}


def claims(rights: dict | None = None, lifetime: float = 300, **more) -> dict:
    return {"exp": int(time.time() + lifetime), "weir": ALL if rights is None else rights, **more}


def hs256(rights: dict | None = None, *, secret: str = SECRET, headers: dict | None = None, **more) -> str:
    return jwt.encode(claims(rights, **more), secret, algorithm="HS256", headers=headers)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: dict, body: dict, secret: bytes | None) -> str:
    """Any header; signed by HMAC-SHA256 with the bytes, or not at all."""
    text = base64url(json.dumps(header).encode()) + "." + base64url(json.dumps(body).encode())
    signature = b"" if secret is None else hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return text + "." + base64url(signature)


class Issuer:
    """An identity provider with a key for RS256 and one for ES256."""

    def __init__(self, prefix: str = ""):
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.prefix = prefix

    @property
    def jwks(self) -> str:
        keys = [
            {**json.loads(RSAAlgorithm.to_jwk(self.rsa.public_key())), "kid": self.prefix + "r", "alg": "RS256",
             "use": "sig"},
            {**json.loads(ECAlgorithm.to_jwk(self.ec.public_key())), "kid": self.prefix + "e", "alg": "ES256"},
        ]
        return json.dumps({"keys": keys})

    def token(self, algorithm: str, rights: dict | None = None, *, kid: str | None = "", **more) -> str:
        key, name = (self.rsa, "r") if algorithm.startswith(("RS", "PS")) else (self.ec, "e")
        headers = {} if kid is None else {"kid": kid or self.prefix + name}
        return jwt.encode(claims(rights, **more), key, algorithm=algorithm, headers=headers)
