"""The file of users: what is in it, who may read it, and when it is read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from tests.server.keys import KEYS, openssh, pem, public_text

from pie.errors import UsageError
from pie.server.limits import Limits
from pie.server.users import Token, UsersFile, parse_public_key, token_hash
from pie_client import ClientError, PrivateKey


def write(path: Path, text: str, mode: int = 0o600) -> UsersFile:
    path.write_text(text)
    path.chmod(mode)
    return UsersFile(path)


def test_no_file_is_no_users(tmp_path: Path) -> None:
    assert UsersFile(tmp_path / "none.toml").users() == {}


def test_users_have_keys_and_hashes_of_tokens(tmp_path: Path) -> None:
    text = f'[users.me.keys]\nlaptop = "{public_text("ed25519")}"\n[users.me.tokens]\nci = "{token_hash("x")}"\n'
    user = write(tmp_path / "users.toml", text + "[users.you.keys]\n").users()["me"]
    assert list(user.keys) == ["laptop"]
    assert user.tokens == {"ci": Token("sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")}


def test_users_and_tokens_have_limits(tmp_path: Path) -> None:
    text = """
[users.me.tokens]
ci = { hash = "sha256:00", requests_per_minute = 5 }

[users.me.limits]
tokens_per_minute = 100
concurrent_requests = 2
"""
    user = write(tmp_path / "users.toml", text).users()["me"]
    assert user.tokens == {"ci": Token("sha256:00", Limits(requests_per_minute=5))}
    assert user.limits == Limits(tokens_per_minute=100, concurrent_requests=2)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o604])
def test_a_file_that_others_may_use_is_not_read(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UsageError) as refused:
        write(tmp_path / "users.toml", "", mode).users()
    assert refused.value.code == "users-unsafe"


def test_a_changed_file_is_read_again_and_a_removed_one_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    file = write(path, "[users.one.keys]\n")
    assert list(file.users()) == ["one"]
    path.write_text("[users.another.keys]\n")
    assert list(file.users()) == ["another"]
    path.unlink()
    assert file.users() == {}


@pytest.mark.parametrize(
    "text",
    [
        "users = 5",
        "[user.me.keys]",
        "[users.me]\nkey = 1",
        "[users.me.keys]\na = 1",
        '[users.me.keys]\na = "ssh-ed25519 nonsense"',
        '[users.me.tokens]\na = "the token itself"',
        '[users.me.tokens]\na = { hash = "the token itself" }',
        "[users.me.tokens]\na = { requests_per_minute = 5 }",
        "[users.me.limits]\nrequests_per_minute = 0",
        "[users.me.limits]\nrequests_per_minute = 1000000001",
        "[users.me.limits]\nrequests = 1",
        "not toml",
        "\udcff",
    ],
)
def test_what_is_wrong_in_the_file_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(UsageError) as refused:
        UsersFile(path).users()
    assert refused.value.code == "bad-users"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    path.mkdir(0o700)
    with pytest.raises(UsageError) as refused:
        UsersFile(path).users()
    assert refused.value.code == "users-unreadable"


def public_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed448.Ed448PrivateKey, encoding: str) -> str:
    kind = serialization.Encoding.PEM
    pkcs1 = serialization.PublicFormat.PKCS1 if encoding == "pkcs1" else serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(kind, pkcs1).decode()


@pytest.mark.parametrize("encoding", ["pkcs1", "pkcs8"])
def test_public_keys_may_be_pem(encoding: str) -> None:
    assert isinstance(parse_public_key(public_of(rsa.generate_private_key(65537, 2048), encoding)), rsa.RSAPublicKey)


WEAK = rsa.generate_private_key(65537, 1024)
P521 = ec.generate_private_key(ec.SECP521R1())
ED448 = ed448.Ed448PrivateKey.generate()


@pytest.mark.parametrize(
    "text",
    ["", "ssh-ed25519", "x" * 1000, *(public_of(key, "pkcs8") for key in (WEAK, P521, ED448))],
)
def test_public_keys_of_other_kinds_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_public_key(text)
    assert refused.value.code == "bad-public-key"


@pytest.mark.parametrize("text", ["", "nonsense", pem(WEAK), openssh(P521), KEYS["rsa"][:-100]])
def test_private_keys_of_other_kinds_are_refused(text: str) -> None:
    with pytest.raises(ClientError) as refused:
        PrivateKey.parse(text)
    assert refused.value.code == "bad-key"


def test_a_private_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (tmp_path / "key").write_bytes(locked)
    with pytest.raises(ClientError) as refused:
        PrivateKey.read(tmp_path / "key")
    assert refused.value.code == "bad-key"


def test_another_file_in_its_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    file = write(path, "[users.one.keys]\n")
    assert list(file.users()) == ["one"]
    before = path.stat()
    write(tmp_path / "new", "[users.two.keys]\n")
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").replace(path)
    assert list(file.users()) == ["two"]
