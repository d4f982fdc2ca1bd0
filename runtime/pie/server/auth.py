"""Who may come in: names proved by a signature of a fresh challenge, and tokens.

Does no I/O besides looking whether the file of users has changed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from pie.server.limits import UNLIMITED, Limits
from pie.server.users import Holder, PublicKey, Users, token_hash

__all__ = ["CHALLENGE_BYTES", "INTERNAL_USER", "Doorkeeper", "KeyDoorkeeper", "OpenDoorkeeper", "new_token"]

CHALLENGE_BYTES = 48
TOKEN_BYTES = 48
INTERNAL_USER = "internal"


class Doorkeeper(Protocol):
    """Decides who comes in."""

    def knows(self, username: str) -> bool:
        """Whether there is such a user."""
        ...

    def needs_proof(self) -> bool:
        """Whether a name alone is not enough."""
        ...

    def accepts(self, username: str, challenge: bytes, signature: bytes) -> bool:
        """Whether one of the user's keys made the signature."""
        ...

    def holder_of(self, token: str) -> Holder | None:
        """Whose token it is; None if nobody's."""
        ...

    def limits_of(self, holder: Holder) -> tuple[Limits, Limits]:
        """The limits of the user, and those of the token."""
        ...


class OpenDoorkeeper:
    """Lets everybody in under the name they give."""

    def knows(self, username: str) -> bool:
        """Everybody."""
        return True

    def needs_proof(self) -> bool:
        """No."""
        return False

    def accepts(self, username: str, challenge: bytes, signature: bytes) -> bool:
        """Never asked."""
        return True

    def holder_of(self, token: str) -> Holder | None:
        """Clients that can only show a token must come in as well."""
        return Holder(INTERNAL_USER)

    def limits_of(self, holder: Holder) -> tuple[Limits, Limits]:
        """Nobody has any."""
        return UNLIMITED, UNLIMITED


class KeyDoorkeeper:
    """Lets those in who have a key or a token."""

    def __init__(self, users: Callable[[], Users], internal_token: str) -> None:
        """Ask `users` each time; `internal_token` is this server's own, for whoever may read its file."""
        self._users = users
        self._internal_token = internal_token

    def knows(self, username: str) -> bool:
        """Whether the user has a key."""
        user = self._users().get(username)
        return user is not None and bool(user.keys)

    def needs_proof(self) -> bool:
        """Yes."""
        return True

    def accepts(self, username: str, challenge: bytes, signature: bytes) -> bool:
        """Whether one of the user's keys made the signature."""
        user = self._users().get(username)
        return user is not None and any(_verify(key, challenge, signature) for key in user.keys.values())

    def holder_of(self, token: str) -> Holder | None:
        """Whose token it is; every token there is gets compared, so that the time tells nothing."""
        found = Holder(INTERNAL_USER) if hmac.compare_digest(token.encode(), self._internal_token.encode()) else None
        digest = token_hash(token)
        for name, user in self._users().items():
            for token_name, known in user.tokens.items():
                if hmac.compare_digest(digest, known.hash):
                    found = Holder(name, token_name)
        return found

    def limits_of(self, holder: Holder) -> tuple[Limits, Limits]:
        """What the file says now; none of what is not there any more."""
        user = self._users().get(holder.user)
        token = None if user is None or holder.token is None else user.tokens.get(holder.token)
        return UNLIMITED if user is None else user.limits, UNLIMITED if token is None else token.limits


def new_token() -> str:
    """A fresh token: 64 characters of URL-safe base64."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def _verify(key: PublicKey, data: bytes, signature: bytes) -> bool:
    try:
        match key:
            case rsa.RSAPublicKey():
                key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePublicKey():
                digest = hashes.SHA256() if isinstance(key.curve, ec.SECP256R1) else hashes.SHA384()
                key.verify(signature, data, ec.ECDSA(digest))
            case _:
                key.verify(signature, data)
    except InvalidSignature:
        return False
    return True
