"""Private keys of each kind that is accepted, made anew for each run."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pie.server.users import PublicKey, parse_public_key

__all__ = ["KEYS", "openssh", "pem", "public_key", "public_text"]

Private = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


def openssh(key: Private) -> str:
    """As ssh-keygen writes it."""
    private = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()).decode()


def pem(key: Private, format: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> str:  # noqa: A002
    """As openssl writes it."""
    return key.private_bytes(serialization.Encoding.PEM, format, serialization.NoEncryption()).decode()


KEYS = {
    "ed25519": openssh(ed25519.Ed25519PrivateKey.generate()),
    "p256": openssh(ec.generate_private_key(ec.SECP256R1())),
    "p384": pem(ec.generate_private_key(ec.SECP384R1())),
    "rsa": pem(rsa.generate_private_key(65537, 2048), serialization.PrivateFormat.TraditionalOpenSSL),
}
"""By kind, in all formats that are accepted."""


def public_text(name: str) -> str:
    """The public half, as it stands in authorized_users.toml."""
    text = KEYS[name].encode()
    load = serialization.load_ssh_private_key if b"OPENSSH" in text else serialization.load_pem_private_key
    public = load(text, password=None).public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def public_key(name: str) -> PublicKey:
    """The public half."""
    return parse_public_key(public_text(name))
