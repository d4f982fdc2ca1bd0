"""Registries: what was published is fetched whole from a folder or a web server, and anything else is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from blake3 import blake3
from tests.process.publish_worker import release_of

from pie.errors import ProgramError
from pie.process.identifier import parse_identifier
from pie.process.publishing import publish
from pie.process.registry import fetch_release
from pie.process.registry_files import open_registry
from pie.process.release import Release

HEADER = b"\0asm\x0d\0\x01\0"


def release(name: str = "chat", version: str = "0.1.0", content: bytes = HEADER, text: str = "") -> Release:
    return Release.of(content, f'[package]\nname = "{name}"\nversion = "{version}"\ndescription = "{text}"\n')


class Quiet(SimpleHTTPRequestHandler):
    """Any static web server."""

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture(params=["folder", "web"])
def where(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """How the registry is named: the folder, or the address at which it is offered."""
    if request.param == "folder":
        yield str(folder)
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


async def fetch(where: str, word: str) -> Release:
    return await fetch_release(open_registry(where), parse_identifier(word))


async def refused(code: str, where: str, word: str) -> str:
    with pytest.raises(ProgramError) as caught:
        await fetch(where, word)
    assert caught.value.code == code
    return f"{caught.value.cause}. {caught.value.remedy}"


async def test_what_was_published_is_fetched_by_version_or_as_the_newest(where: str, folder: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        assert publish(release(version=version, content=HEADER + version.encode()), folder)
    assert (await fetch(where, "chat")).version == "0.10.0"
    fetched = await fetch(where, "chat@0.2.0")
    assert fetched == release(version="0.2.0", content=HEADER + b"0.2.0")


async def test_clients_of_pie_0_4_find_the_newest_version(folder: Path) -> None:
    for version, text in (("0.1.0", "old"), ("0.3.0", "new"), ("0.2.0", "between")):
        publish(release(version=version, text=text), folder)
    listing = json.loads((folder / "api" / "v1" / "inferlets" / "chat").read_text())
    assert listing["latest_version"] == listing["versions"][0]["num"] == "0.3.0"
    assert listing["description"] == "new"
    assert json.loads((folder / "index.json").read_text())["programs"] == {"chat": "0.3.0"}


async def test_what_is_not_there_is_told_with_what_is(where: str, folder: Path) -> None:
    publish(release(), folder)
    publish(release("agent"), folder)
    assert "Did you mean chat?" in await refused("program-not-found", where, "chta")
    assert "index.json" in await refused("program-not-found", where, "zebra")
    assert "has chat with 0.1.0, not 0.2.0" in await refused("program-not-found", where, "chat@0.2.0")


def test_a_published_version_does_not_change(folder: Path) -> None:
    assert publish(release(), folder)
    before = contents(folder)
    assert not publish(release(), folder)
    for other in (release(content=HEADER + b"other"), release(text="other")):
        with pytest.raises(ProgramError) as caught:
            publish(other, folder)
        assert caught.value.code == "already-published"
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_web_server_of_another_user_can_read_all_of_it(folder: Path) -> None:
    publish(release(), folder)
    for path in (folder, *folder.rglob("*")):
        if path.name != ".lock":
            assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_several_publish_at_once(folder: Path) -> None:
    releases = [release(name, f"0.{number}.0") for name in ("chat", "agent") for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(partial(publish, folder=folder), releases))
    assert json.loads((folder / "index.json").read_text())["programs"] == {"agent": "0.3.0", "chat": "0.3.0"}
    assert not list(folder.rglob(".new-*"))


def rewrite(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        [found] = folder.glob(path)
        found.write_bytes(change(found.read_bytes()))

    return work


def remove(path: str) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        [found] = folder.glob(path)
        found.unlink()

    return work


def lead_out(folder: Path) -> None:
    """The listing names a file beside the blobs."""
    (folder / "secret.wasm").write_bytes(HEADER)
    rewrite(LISTING, lambda text: text.replace(blake3(HEADER).hexdigest().encode(), b"../secret"))(folder)


def swap(folder: Path) -> None:
    """What is listed as one program is another."""
    publish(release("agent"), folder)
    listing = (folder / "api" / "v1" / "inferlets" / "agent").read_bytes()
    (folder / LISTING).write_bytes(listing)


LISTING = "api/v1/inferlets/chat"
DAMAGES: dict[str, Callable[[Path], None]] = {
    "a changed program": rewrite("blobs/*.wasm", lambda content: content + b"!"),
    "a cut program": rewrite("blobs/*.wasm", lambda _: b""),
    "no program": remove("blobs/*.wasm"),
    "a changed manifest": rewrite("blobs/*.toml", lambda content: content + b"\n"),
    "no manifest": remove("blobs/*.toml"),
    "a listing that is no JSON": rewrite(LISTING, lambda _: b"{"),
    "a listing of something else": rewrite(LISTING, lambda _: b"[1]"),
    "a listing that is too large": rewrite(LISTING, lambda text: text + b" " * (5 << 20)),
    "a listing of nested lists": rewrite(LISTING, lambda _: b"[" * 100_000),
    "a listing that leads out of the blobs": lead_out,
    "a program that is another one": swap,
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_registry_that_is_not_as_it_should_be_is_refused(damage: str, where: str, folder: Path) -> None:
    publish(release(), folder)
    DAMAGES[damage](folder)
    assert "the registry cannot be used" in await refused("registry-unusable", where, "chat")


async def test_a_program_larger_than_may_be_is_not_read_to_its_end(
    where: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(release(content=HEADER + bytes(1000)), folder)
    monkeypatch.setattr("pie.process.registry.MAX_PROGRAM_BYTES", 1000)
    assert "more than 1000 bytes" in await refused("registry-unusable", where, "chat")


async def test_a_registry_without_an_index_is_told(where: str, folder: Path) -> None:
    folder.mkdir()
    assert "it has no index.json" in await refused("registry-unusable", where, "chat")


@pytest.mark.parametrize("where", ["nowhere", "http://127.0.0.1:1/", "http://", "http://a b", "https://127.0.0.1:1"])
async def test_a_registry_that_is_not_there_is_told(where: str) -> None:
    await refused("registry-unusable", where, "chat")


@pytest.mark.parametrize("kills", [8, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_a_killed_publisher_leaves_whole_releases_and_the_next_goes_on(kills: int, folder: Path) -> None:
    draw, first = random.Random(3), 0
    for _ in range(kills):
        last = publish_until_killed(folder, first, after_s=draw.uniform(0.001, 0.03))
        for number in range(last):
            fetched = await fetch(str(folder), f"chat@0.{number}.0")
            assert fetched == release_of(number)
        first = last
    publish(release_of(first), folder)
    assert json.loads((folder / "index.json").read_text())["programs"] == {"chat": f"0.{first}.0"}
    assert not list(folder.rglob(".new-*"))


def publish_until_killed(folder: Path, first: int, *, after_s: float) -> int:
    """The number of the version that a publisher was at when it was killed."""
    script = str(Path(__file__).with_name("publish_worker.py"))
    with subprocess.Popen([sys.executable, script, str(folder), str(first)], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        begun = worker.stdout.readline()
        time.sleep(after_s)
        worker.kill()
        begun += worker.stdout.read()
    assert worker.returncode == -signal.SIGKILL
    return int(begun.split()[-1])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(folder: Path) -> None:
    folder.mkdir(mode=0o555)
    with pytest.raises(ProgramError) as caught:
        publish(release(), folder)
    assert caught.value.code == "not-published"


def test_a_folder_whose_place_is_taken_is_told(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(ProgramError) as caught:
        publish(release(), folder)
    assert caught.value.code == "not-published"
