"""A user's private key, and the signature that proves to have it."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from pie_client.errors import ClientError

__all__ = ["MIN_RSA_BITS", "PrivateKey"]

MIN_RSA_BITS = 2048
_Key = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class PrivateKey:
    """An RSA (2048 bits or more), Ed25519, ECDSA P-256 or ECDSA P-384 key without a passphrase."""

    def __init__(self, key: _Key) -> None:
        """Wrap a key that has been checked; see `parse` and `read`."""
        self._key = key

    @classmethod
    def read(cls, path: Path | str) -> PrivateKey:
        """Read a file, such as ~/.ssh/id_ed25519.

        Raises:
            ClientError: `bad-key`.
            OSError: it cannot be read.
        """
        return cls.parse(Path(path).read_bytes())

    @classmethod
    def parse(cls, data: bytes | str) -> PrivateKey:
        """Take the text of a key: OpenSSH, PKCS#8 PEM or PKCS#1 PEM.

        Raises:
            ClientError: `bad-key` if it is none of those, has a passphrase, or is of a kind that servers refuse.
        """
        text = data.encode() if isinstance(data, str) else data
        load = serialization.load_ssh_private_key if b"OPENSSH" in text else serialization.load_pem_private_key
        try:
            key = load(text, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it has a passphrase
            raise ClientError("bad-key", f"the private key cannot be read: {error}") from None
        match key:
            case rsa.RSAPrivateKey():
                if key.key_size < MIN_RSA_BITS:
                    cause = f"the RSA key has {key.key_size} bits, fewer than {MIN_RSA_BITS}"
                    raise ClientError("bad-key", cause)
            case ed25519.Ed25519PrivateKey():
                pass
            case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1() | ec.SECP384R1()):
                pass
            case _:
                raise ClientError("bad-key", "the key is none of RSA, Ed25519, ECDSA P-256 and ECDSA P-384")
        return cls(key)

    def sign(self, data: bytes) -> bytes:
        """The signature: RSA with PKCS#1 v1.5 and SHA-256; ECDSA in DER with SHA-256 (P-256) or SHA-384 (P-384)."""
        match self._key:
            case rsa.RSAPrivateKey() as key:
                return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePrivateKey() as key:
                digest = hashes.SHA256() if isinstance(key.curve, ec.SECP256R1) else hashes.SHA384()
                return key.sign(data, ec.ECDSA(digest))
            case ed25519.Ed25519PrivateKey() as key:
                return key.sign(data)
