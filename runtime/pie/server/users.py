"""The file of users: whose key or token opens the door. Read anew when it has changed.

    [users.alice.keys]
    laptop = "ssh-ed25519 AAAA..."

    [users.alice.tokens]
    ci = "sha256:9f86d081..."
    robot = { hash = "sha256:60303ae2...", requests_per_minute = 10 }

    [users.alice.limits]
    tokens_per_minute = 100000

Keys are public ones: OpenSSH, PKCS#8 PEM or PKCS#1 PEM. Of a token only the hash is there.
"""

from __future__ import annotations

import base64
import hashlib
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pie.errors import UsageError
from pie.server.limits import UNLIMITED, Limits
from pie_client.keys import MIN_RSA_BITS

__all__ = [
    "Holder",
    "PublicKey",
    "Token",
    "User",
    "Users",
    "UsersFile",
    "fingerprint",
    "parse_public_key",
    "token_hash",
]

PublicKey = rsa.RSAPublicKey | ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
MAX_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has come in.

    Attributes:
        user: the name.
        token: the name of the token that was shown; None if it was none of the user's.
    """

    user: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a user.

    Attributes:
        hash: as `token_hash` makes it.
        limits: its own, within those of the user.
    """

    hash: str
    limits: Limits = UNLIMITED


@dataclass(frozen=True, slots=True)
class User:
    """Who may come in.

    Attributes:
        keys: name -> public key.
        tokens: name -> token.
        limits: of all that comes in with any of them.
    """

    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    tokens: Mapping[str, Token] = field(default_factory=dict)
    limits: Limits = UNLIMITED


Users = Mapping[str, User]


class _LimitedToken(Limits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    hash: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: dict[str, str] = {}
    tokens: dict[str, str | _LimitedToken] = {}
    limits: Limits = UNLIMITED


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    users: dict[str, _Table] = {}


class UsersFile:
    """The users in a file; one that is not there has none."""

    def __init__(self, path: Path) -> None:
        """Read `path` when first asked."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._users: Users = {}

    def users(self) -> Users:
        """What the file says now.

        Raises:
            UsageError: `users-unsafe` if others may read or write it, `users-unreadable`, `bad-users`.
        """
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                _check_mode(self._path, status.st_mode)
                self._users = _parse(self._path, self._path.read_bytes()[:MAX_BYTES])
                self._seen = seen
        except FileNotFoundError:
            self._users, self._seen = {}, None
        except OSError as error:
            raise UsageError(
                "users-unreadable",
                f"{self._path}: {error.strerror}",
                remedy="Give the server's user the right to read it.",
            ) from None
        return self._users


def token_hash(token: str) -> str:
    """What the file holds of a token. Tokens are long and random, so that a plain hash is enough."""
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


def parse_public_key(text: str) -> PublicKey:
    """Read a public key.

    Raises:
        UsageError: `bad-public-key` if it is none, or of a kind or size that is not accepted.
    """
    data = text.strip().encode()
    load = serialization.load_pem_public_key if data.startswith(b"-----") else serialization.load_ssh_public_key
    try:
        key = load(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _bad_key(f"the public key cannot be read: {str(error).rstrip('. ')}") from None
    match key:
        case rsa.RSAPublicKey():
            if key.key_size < MIN_RSA_BITS:
                raise _bad_key(f"the RSA key has {key.key_size} bits, fewer than {MIN_RSA_BITS}")
            return key
        case ed25519.Ed25519PublicKey() | ec.EllipticCurvePublicKey(curve=ec.SECP256R1() | ec.SECP384R1()):
            return key
    raise _bad_key("the key is none of RSA, Ed25519, ECDSA P-256 and ECDSA P-384")


def fingerprint(key: PublicKey) -> str:
    """What `ssh-keygen -l` shows of a key: SHA256: and 43 letters."""
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _bad_key(cause: str) -> UsageError:
    return UsageError("bad-public-key", cause, remedy="Make one with `ssh-keygen -t ed25519`, and give its .pub file.")


def _check_mode(path: Path, mode: int) -> None:
    if stat.S_IMODE(mode) & 0o077:
        raise UsageError(
            "users-unsafe",
            f"others may read or write {path} (mode {stat.S_IMODE(mode):04o})",
            remedy=f"Make it yours alone: chmod 600 {path}.",
        )


def _parse(path: Path, data: bytes) -> Users:
    try:
        file = msgspec.convert(tomllib.loads(data.decode()), _File)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad_file(path, f"it is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise _bad_file(path, str(error)) from None
    return {name: _user(path, name, table) for name, table in file.users.items()}


def _user(path: Path, name: str, table: _Table) -> User:
    tokens = {token: _token(told) for token, told in table.tokens.items()}
    if not all(token.hash.startswith("sha256:") for token in tokens.values()):
        raise _bad_file(path, f"a token of {name} is no hash")
    try:
        keys = {key: parse_public_key(text) for key, text in table.keys.items()}
    except UsageError as error:
        raise _bad_file(path, f"a key of {name}: {error.cause}") from None
    return User(keys, tokens, table.limits)


def _token(told: str | _LimitedToken) -> Token:
    return Token(told) if isinstance(told, str) else Token(told.hash, UNLIMITED.over(told))


def _bad_file(path: Path, cause: str) -> UsageError:
    return UsageError("bad-users", f"{path}: {cause}", remedy="Mend the entry.")
