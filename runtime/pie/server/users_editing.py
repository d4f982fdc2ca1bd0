"""Changes to the file of users, made whole or not at all; comments and order in it stay. Knows no server."""

from __future__ import annotations

import difflib
import fcntl
import os
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pie.durable import make_folder, replace_file
from pie.errors import UsageError
from pie.server.auth import INTERNAL_USER, new_token
from pie.server.limits import UNLIMITED, Limits
from pie.server.session import MAX_USERNAME
from pie.server.users import User, Users, UsersFile, parse_public_key, token_hash

__all__ = ["Kind", "UsersEditor", "read_public_key"]

Kind = Literal["keys", "tokens"]
Tables = Any
"""users -> name -> keys, tokens or limits, as plain dictionaries or as a document with its comments."""


class UsersEditor:
    """Adds and removes users, their public keys, their tokens and their limits."""

    def __init__(self, path: Path) -> None:
        """Edit the file at `path`, which is made when there is something to write."""
        self._path = path

    def users(self) -> Users:
        """What the file says now; raises what `UsersFile.users` raises."""
        return UsersFile(self._path).users()

    def add_user(self, name: str) -> None:
        """Add a user who has nothing to come in with yet.

        Raises:
            UsageError: `user-exists`, `bad-user-name`, or what `users` raises.
        """
        _check_user(name)
        with self._locked() as users:
            if name in users:
                raise UsageError(
                    "user-exists", f"there is a user {name!r}", remedy="Give a key with --key, or make a token."
                )
            self._change(lambda tables: tables.setdefault(name, {}).setdefault("keys", {}))

    def add_key(self, name: str, key: str, text: str) -> None:
        """Add a public key, of a new user if there is none of that name.

        Args:
            name: the user.
            key: the name of the key.
            text: the key, see `read_public_key`.

        Raises:
            UsageError: `credential-exists`, `bad-user-name`, or what `users` raises.
        """
        _check_user(name)
        with self._locked() as users:
            self._add(users, name, "keys", key, text)

    def add_token(self, name: str, token: str, limits: Limits = UNLIMITED) -> str:
        """Make a token for a user and store its hash; the token itself.

        Args:
            name: the user.
            token: the name of the token.
            limits: its own.

        Raises:
            UsageError: `user-not-found`, `credential-exists`, `bad-user-name`, or what `users` raises.
        """
        with self._locked() as users:
            _check_there(name, users)
            secret = new_token()
            self._add(users, name, "tokens", token, _told(token_hash(secret), limits))
        return secret

    def limit(self, name: str, token: str | None, changes: Mapping[str, int | None]) -> Limits:
        """Change limits of a user, or of one token; those that hold then.

        Args:
            name: the user.
            token: the name of the token; None is the user.
            changes: new bounds by their names in `Limits`; None takes one away.

        Raises:
            UsageError: `user-not-found`, `credential-not-found`, or what `users` raises.
        """
        with self._locked() as users:
            _check_there(name, users)
            if token is None:
                self._change(lambda tables: _change_limits(tables[name].setdefault("limits", {}), changes))
                return _changed(users[name].limits, changes)
            _check_has(users, name, "tokens", token)
            known = users[name].tokens[token]
            limits = _changed(known.limits, changes)
            self._change(lambda tables: tables[name]["tokens"].update({token: _told(known.hash, limits)}))
        return limits

    def remove_user(self, name: str) -> None:
        """Remove a user with all keys and tokens.

        Raises:
            UsageError: `user-not-found`, or what `users` raises.
        """
        with self._locked() as users:
            _check_there(name, users)
            self._change(lambda tables: tables.pop(name))

    def remove(self, name: str, kind: Kind, credential: str) -> None:
        """Remove one key or token of a user.

        Raises:
            UsageError: `user-not-found`, `credential-not-found`, or what `users` raises.
        """
        with self._locked() as users:
            _check_there(name, users)
            _check_has(users, name, kind, credential)
            self._change(lambda tables: tables[name][kind].pop(credential))

    def _add(self, users: Users, name: str, kind: Kind, credential: str, told: Any) -> None:
        _check_name(credential)
        if name in users and credential in _known(users[name], kind):
            raise UsageError(
                "credential-exists",
                f"{name} has a {kind[:-1]} {credential!r} already",
                remedy="Choose another --name, or remove that one first.",
            )
        self._change(lambda tables: tables.setdefault(name, {}).setdefault(kind, {}).update({credential: told}))

    def _change(self, change: Callable[[Tables], object]) -> None:
        """Make a change in the document and in plain dictionaries; it is written if both say the same."""
        content = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        wanted = tomllib.loads(content)
        change(wanted.setdefault("users", {}))
        written = tomlkit.dumps(wanted)  # without comments, which are lost rather than a user
        with suppress(TOMLKitError):
            document = tomlkit.parse(content)
            change(document.setdefault("users", tomlkit.table(is_super_table=True)))
            if _means(kept := tomlkit.dumps(document), wanted):
                written = kept
        replace_file(self._path.resolve(), written.encode())  # a link stays one

    @contextmanager
    def _locked(self) -> Iterator[Users]:
        """The users, whom nobody else edits meanwhile."""
        make_folder(self._path.parent)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield self.users()
        finally:
            os.close(folder)


def read_public_key(data: bytes, source: str) -> str:
    """The text of one public key, which is checked.

    Args:
        data: what a file holds.
        source: what to call it in errors.

    Raises:
        UsageError: `private-key-given`, `bad-public-key`.
    """
    if b"PRIVATE KEY" in data:
        raise UsageError(
            "private-key-given",
            f"{source} holds a private key, which nobody but its owner should have",
            remedy="Give the file beside it that ends in .pub.",
        )
    text = data.decode("utf-8", "replace").strip()
    if not text.startswith("-----") and len(text.splitlines()) > 1:
        raise UsageError(
            "bad-public-key", f"{source} has several lines, where a key is one", remedy="Add one key at a time."
        )
    parse_public_key(text)
    return text


def _means(text: str, wanted: Tables) -> bool:
    try:
        return bool(tomllib.loads(text) == wanted)
    except tomllib.TOMLDecodeError:
        return False


def _check_user(name: str) -> None:
    _check_name(name)
    if name == INTERNAL_USER:
        raise _bad_name(f"{name!r} is who comes in with the server's own token")


def _check_name(name: str) -> None:
    if not (0 < len(name) <= MAX_USERNAME and name.isprintable() and name.strip() == name):
        raise _bad_name(f"{name[:MAX_USERNAME]!r} is no name")


def _bad_name(cause: str) -> UsageError:
    return UsageError("bad-user-name", cause, remedy="Choose another, such as alice.")


def _check_there(name: str, users: Users) -> None:
    if name not in users:
        raise UsageError("user-not-found", f"there is no user {name!r}", remedy=_nearest(name, users))


def _check_has(users: Users, name: str, kind: Kind, credential: str) -> None:
    known = _known(users[name], kind)
    if credential not in known:
        raise UsageError(
            "credential-not-found", f"{name} has no {kind[:-1]} {credential!r}", remedy=_nearest(credential, known)
        )


def _known(user: User, kind: Kind) -> Collection[str]:
    return user.keys if kind == "keys" else user.tokens


def _told(token_hash: str, limits: Limits) -> Any:
    """A token as the file has it: its hash, and beside it in one line what limits it has."""
    if not limits.told():
        return token_hash
    table = tomlkit.inline_table()
    table.update({"hash": token_hash, **limits.told()})
    return table


def _changed(limits: Limits, changes: Mapping[str, int | None]) -> Limits:
    return Limits(**{**limits.told(), **changes})


def _change_limits(table: Tables, changes: Mapping[str, int | None]) -> None:
    for name, bound in changes.items():
        if bound is None:
            table.pop(name, None)
        else:
            table[name] = bound


def _nearest(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]}?" if near else "`pie auth list` shows what there is."
