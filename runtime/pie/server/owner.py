"""Whose an HTTP request is: the user of its token."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

from pie.errors import RequestError
from pie.server.auth import Doorkeeper
from pie.server.users import Holder

__all__ = ["holder_of", "owner_of"]

LOCAL_USER = "local"
"""Whose processes they are where nobody must prove who they are."""

SCHEME = "bearer "


def owner_of(doorkeeper: Doorkeeper, scope: Scope) -> str:
    """The user of the request's token, as `holder_of`."""
    return holder_of(doorkeeper, scope).user


def holder_of(doorkeeper: Doorkeeper, scope: Scope) -> Holder:
    """The user of the request's token and which one it is; it is taken out of the headers.

    Raises:
        RequestError: `token-needed`.
    """
    if not doorkeeper.needs_proof():
        return Holder(LOCAL_USER)
    given = Headers(scope=scope).get("authorization", "")
    holder = doorkeeper.holder_of(given[len(SCHEME) :].strip()) if given.lower().startswith(SCHEME) else None
    if holder is None:
        raise RequestError(
            "token-needed",
            "the request shows no token that this server knows",
            remedy="Send the header `Authorization: Bearer TOKEN`.",
        )
    # The token is for this server; a program has no use for it that its user would want.
    scope["headers"] = [field for field in scope["headers"] if field[0].lower() != b"authorization"]
    return holder
