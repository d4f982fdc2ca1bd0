"""`pie auth`: users, keys and tokens of a server, in a file that only its owner reads."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.shell import Pie
from tests.server.keys import KEYS, public_text

from pie.server.auth import KeyDoorkeeper
from pie.server.limits import Limits
from pie.server.users import Holder, UsersFile

COMMENTED = """\
# who may come in
[users.alice.keys]
laptop = "{key}"  # the old one

[users.bob.tokens]
ci = "sha256:00"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "authorized_users.toml"


def key_file(folder: Path, name: str, comment: str = "") -> str:
    path = folder / f"{name}.pub"
    path.write_text(f"{public_text(name)} {comment}".strip() + "\n")
    return str(path)


def rows(pie: Pie) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(pie("auth", "list", "--json").out)
    return listed


def names(row: dict[str, Any]) -> list[str]:
    return [token["name"] for token in row["tokens"]]


def test_a_key_is_added_for_its_owner_alone_and_listed(pie: Pie, tmp_path: Path, file: Path) -> None:
    left = pie("auth", "add", "alice", "--key", key_file(tmp_path, "ed25519", "alice@laptop"))
    assert (left.code, left.err) == (0, "")
    assert left.out.startswith("Added the key alice@laptop of alice: SHA256:")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert pie("auth", "add", "alice", "--key", key_file(tmp_path, "p256"), "--name", "desk top").code == 0
    assert pie("auth", "add", "alice", "--key", key_file(tmp_path, "rsa")).code == 0
    [row] = rows(pie)
    assert row["user"] == "alice"
    assert list(UsersFile(file).users()["alice"].keys) == ["alice@laptop", "desk top", "key"]
    shown = pie("auth", "list").out.splitlines()
    assert shown[1].split()[:3] == ["alice", "key", "alice@laptop"]


def test_the_fingerprint_is_that_of_ssh_keygen(pie: Pie, tmp_path: Path) -> None:
    path = key_file(tmp_path, "ed25519")
    said = pie("auth", "add", "alice", "--key", path).out
    try:
        shown = subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("ssh-keygen is not installed")
    assert shown.split()[1] in said


def test_a_key_comes_from_stdin(pie: Pie, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(public_text("p384").encode())))
    assert pie("auth", "add", "bob", "--key", "-", "--name", "piped").code == 0
    assert list(UsersFile(file).users()["bob"].keys) == ["piped"]


def test_a_token_is_printed_alone_and_lets_its_user_in(pie: Pie, file: Path) -> None:
    assert pie("auth", "add", "robot").code == 0
    left = pie("auth", "token", "robot", "--name", "ci")
    token = left.out.removesuffix("\n")
    assert (left.code, len(token)) == (0, 64)
    assert "shown this once" in left.err
    assert token not in file.read_text()
    doorkeeper = KeyDoorkeeper(UsersFile(file).users, "the server's own")
    assert doorkeeper.holder_of(token) == Holder("robot", "ci")
    tokens = [{"name": "ci", "limits": {}}]
    assert rows(pie) == [{"user": "robot", "keys": [], "tokens": tokens, "limits": {}}]
    assert pie("auth", "remove", "robot", "--token", "ci").code == 0
    assert doorkeeper.holder_of(token) is None


def test_comments_and_others_stay(pie: Pie, tmp_path: Path, file: Path) -> None:
    file.parent.mkdir()
    file.write_text(COMMENTED.format(key=public_text("ed25519")))
    file.chmod(0o600)
    assert pie("auth", "add", "bob", "--key", key_file(tmp_path, "p256"), "--name", "new").code == 0
    assert pie("auth", "token", "alice").code == 0
    text = file.read_text()
    assert "# who may come in" in text
    assert "# the old one" in text
    assert [(row["user"], names(row)) for row in rows(pie)] == [("alice", ["token"]), ("bob", ["ci"])]
    assert pie("auth", "remove", "alice").code == 0
    assert [row["user"] for row in rows(pie)] == ["bob"]
    assert pie("auth", "remove", "bob", "--key", "new").code == 0
    [row] = rows(pie)
    assert (row["user"], row["keys"], names(row)) == ("bob", [], ["ci"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["add", "alice", "--key", "private"], "private-key-given"),
        (["add", "alice", "--key", "nonsense"], "bad-public-key"),
        (["add", "alice", "--key", "two"], "bad-public-key"),
        (["add", "alice", "--key", "nowhere"], "io-error"),
        (["add", "alice", "--key", "good", "--name", "laptop"], "credential-exists"),
        (["add", "alice"], "user-exists"),
        (["add", "internal"], "bad-user-name"),
        (["add", "internal", "--key", "good"], "bad-user-name"),
        (["add", ""], "bad-user-name"),
        (["add", "a\nb", "--key", "good"], "bad-user-name"),
        (["add", "alice", "--key", "good", "--name", ""], "bad-user-name"),
        (["add", "bob", "--name", "x"], "usage"),
        (["token", "alcie"], "user-not-found"),
        (["token", "alice", "--name", "ci"], "credential-exists"),
        (["token", "alice", "--requests-per-minute", "0"], "usage"),
        (["limit", "alice"], "usage"),
        (["limit", "alice", "--requests-per-minute", "many"], "usage"),
        (["limit", "alice", "--tokens-per-minute", "1000000001"], "usage"),
        (["limit", "alcie", "--tokens-per-minute", "5"], "user-not-found"),
        (["limit", "alice", "--token", "cd", "--tokens-per-minute", "5"], "credential-not-found"),
        (["remove", "bob"], "user-not-found"),
        (["remove", "alice", "--key", "lap"], "credential-not-found"),
        (["remove", "alice", "--token", "laptop"], "credential-not-found"),
        (["remove", "alice", "--token", "ci", "--key", "laptop"], "usage"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_told_and_changes_nothing(
    words: list[str], code: str, pie: Pie, tmp_path: Path, file: Path
) -> None:
    good = public_text("ed25519")
    (tmp_path / "good").write_text(good)
    (tmp_path / "private").write_text(KEYS["ed25519"])
    (tmp_path / "nonsense").write_text("ssh-ed25519 nonsense")
    (tmp_path / "two").write_text(f"{good}\n{public_text('p256')}\n")
    assert pie("auth", "add", "alice", "--key", "good", "--name", "laptop").code == 0
    assert pie("auth", "token", "alice", "--name", "ci").code == 0
    before = file.read_bytes()
    left = pie("auth", *words)
    assert (left.code, left.out) == (1, "")
    assert left.err.startswith(f"error[{code}]: ")
    assert file.read_bytes() == before


def test_a_name_with_a_typo_is_told_the_nearest(pie: Pie, tmp_path: Path) -> None:
    pie("auth", "add", "alice", "--key", key_file(tmp_path, "p256"), "--name", "laptop")
    assert pie("auth", "remove", "alcie").err.endswith("Did you mean alice?\n")
    assert pie("auth", "remove", "alice", "--key", "latpop").err.endswith("Did you mean laptop?\n")
    assert "`pie auth list`" in pie("auth", "token", "zzz").err


def test_a_file_that_others_may_read_is_neither_read_nor_changed(pie: Pie, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("[users.alice.keys]\n")
    file.chmod(0o644)
    for words in (["list"], ["token", "alice"], ["add", "bob"]):
        assert pie("auth", *words).err.startswith("error[users-unsafe]: ")
    assert file.read_text() == "[users.alice.keys]\n"


def test_a_token_that_nobody_could_read_is_not_kept(pie: Pie, file: Path) -> None:
    pie("auth", "add", "alice")
    with open("/dev/full", "wb") as full:
        words = [sys.executable, "-m", "pie", "auth", "token", "alice"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr[:16]) == (1, "error[io-error]:")
    assert UsersFile(file).users()["alice"].tokens == {}


def test_a_link_to_the_file_stays_one(pie: Pie, tmp_path: Path, file: Path) -> None:
    file.parent.mkdir()
    file.symlink_to(tmp_path / "elsewhere.toml")
    (tmp_path / "elsewhere.toml").touch(0o600)
    assert pie("auth", "add", "alice").code == 0
    assert file.is_symlink()
    assert list(UsersFile(file).users()) == ["alice"]


def test_without_a_file_there_are_no_users(pie: Pie) -> None:
    assert rows(pie) == []
    assert pie("auth", "list").err.startswith("There are no users")


def test_inline_tables_and_several_places_of_a_user_can_be_edited(pie: Pie, tmp_path: Path, file: Path) -> None:
    file.parent.mkdir()
    file.write_text(
        f'users.alice.keys = {{ a = "{public_text("p256")}" }}\nusers.bob.keys = {{}}\n[users.carol]\nkeys = {{}}\n'
    )
    file.chmod(0o600)
    for name in ("alice", "bob", "carol", "dave"):
        assert pie("auth", "add", name, "--key", key_file(tmp_path, "rsa"), "--name", "b c").code == 0
    assert [len(user.keys) for user in UsersFile(file).users().values()] == [2, 1, 1, 1]
    assert pie("auth", "remove", "bob").code == 0
    assert [row["user"] for row in rows(pie)] == ["alice", "carol", "dave"]


def test_limits_of_users_and_tokens_are_kept_beside_them_and_listed(pie: Pie, file: Path) -> None:
    file.parent.mkdir()
    file.write_text(COMMENTED.format(key=public_text("ed25519")))
    file.chmod(0o600)
    left = pie("auth", "limit", "alice", "--requests-per-minute", "60", "--concurrent-requests", "4")
    assert left.out == "Limits of alice: 60 requests per minute, 4 concurrent requests.\n"
    assert pie("auth", "limit", "bob", "--token", "ci", "--tokens-per-minute", "500").code == 0
    secret = pie("auth", "token", "bob", "--name", "app", "--concurrent-requests", "1").out.strip()
    doorkeeper = KeyDoorkeeper(UsersFile(file).users, "the server's own")
    holder = doorkeeper.holder_of(secret)
    assert holder == Holder("bob", "app")
    assert doorkeeper.limits_of(holder) == (Limits(), Limits(concurrent_requests=1))
    assert doorkeeper.limits_of(Holder("alice")) == (Limits(requests_per_minute=60, concurrent_requests=4), Limits())
    assert doorkeeper.limits_of(Holder("bob", "gone")) == doorkeeper.limits_of(Holder("zoe")) == (Limits(), Limits())
    alice, bob = rows(pie)
    assert alice["limits"] == {"requests_per_minute": 60, "concurrent_requests": 4}
    assert bob["limits"] == {}
    app = {"name": "app", "limits": {"concurrent_requests": 1}}
    assert bob["tokens"] == [{"name": "ci", "limits": {"tokens_per_minute": 500}}, app]
    shown = pie("auth", "list").out
    assert "60 requests per minute, 4 concurrent requests" in shown
    assert "500 tokens per minute" in shown
    assert "# the old one" in file.read_text()


def test_limits_are_changed_one_by_one_and_taken_away(pie: Pie, file: Path) -> None:
    pie("auth", "add", "alice")
    pie("auth", "token", "alice", "--name", "ci", "--tokens-per-minute", "500", "--requests-per-minute", "5")
    token = UsersFile(file).users()["alice"].tokens["ci"]
    for whose in ([], ["--token", "ci"]):
        assert pie("auth", "limit", "alice", *whose, "--concurrent-requests", "3").code == 0
        assert pie("auth", "limit", "alice", *whose, "--tokens-per-minute", "9").code == 0
        assert pie("auth", "limit", "alice", *whose, "--requests-per-minute", "none").code == 0
    known = UsersFile(file).users()["alice"]
    assert known.limits == known.tokens["ci"].limits == Limits(tokens_per_minute=9, concurrent_requests=3)
    assert known.tokens["ci"].hash == token.hash
    for whose in ([], ["--token", "ci"]):
        left = pie("auth", "limit", "alice", *whose, "--tokens-per-minute", "none", "--concurrent-requests", "none")
        assert left.out.endswith(": none of its own.\n")
    known = UsersFile(file).users()["alice"]
    assert known.limits == known.tokens["ci"].limits == Limits()
    assert pie("auth", "remove", "alice", "--token", "ci").code == 0
    assert UsersFile(file).users()["alice"].tokens == {}
