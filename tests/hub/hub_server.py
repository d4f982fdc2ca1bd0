"""A hub on loopback that serves directories as models, and can be told to misbehave as real ones do."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["COMMIT", "HubServer", "serve_hub"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """What it serves, and how.

    Attributes:
        url: its address.
        models: directory by name.
        gated: the status and X-Error-Code that names get in the place of an answer.
        drops: how many more times a connection breaks in the middle of weights.
        holds: if set, weights stop in the middle until it is.
        requests: what was asked, method and path.
        ranges: the Range headers of what was asked.
    """

    url: str
    models: dict[str, Path] = field(default_factory=dict)
    gated: dict[str, tuple[int, str]] = field(default_factory=dict)
    drops: int = 0
    holds: threading.Event | None = None
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for."""
        asked = [one for one in self.requests if one.startswith("GET") and "/resolve/" in one]
        return [one.rpartition("/")[2] for one in asked]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: HubServer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    @property
    def _hub(self) -> HubServer:
        return self.server.hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_message: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self._hub.requests.append(f"{self.command} {path}")
        words = path.strip("/").split("/")
        is_api = words[:2] == ["api", "models"]
        name, rest = ("/".join(words[2:4]), words[4:]) if is_api else ("/".join(words[:2]), words[2:])
        if name in self._hub.gated:
            status, code = self._hub.gated[name]
            self._reply(status, b"{}", {"X-Error-Code": code} if code else {})
        elif name not in self._hub.models:
            self._reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif is_api and rest[0] == "revision" and rest[1] not in ("main", COMMIT):
            self._reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif is_api:
            self._tell(name, self._hub.models[name], is_tree=rest[0] == "tree")
        else:
            self._give(self._hub.models[name] / "/".join(rest[2:]))

    def _tell(self, name: str, folder: Path, *, is_tree: bool) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [str(path.relative_to(folder)) for path in files]
        tree = [
            {"type": "file", "path": one, "size": path.stat().st_size, "oid": _digest(path)}
            for one, path in zip(names, files, strict=True)
        ]
        info = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": one} for one in names]}
        self._reply(200, json.dumps(tree if is_tree else info).encode(), {"Content-Type": "application/json"})

    def _give(self, path: Path) -> None:
        if not path.is_file():
            self._reply(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content, wanted, status = path.read_bytes(), self.headers.get("Range"), 200
        headers = {"ETag": f'"{_digest(path)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if wanted is not None:
            self._hub.ranges.append(wanted)
            first = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            content, status = content[first:], 206
        self._reply(status, content, headers, is_weights=path.suffix == ".safetensors")

    def _reply(self, status: int, content: bytes, headers: dict[str, str], *, is_weights: bool = False) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(content) // 2
        if is_weights and self._hub.drops > 0:
            self._hub.drops -= 1
            self.wfile.write(content[:half])
            self.close_connection = True
            return
        self.wfile.write(content[:half])
        self.wfile.flush()
        if is_weights and self._hub.holds is not None:
            self._hub.holds.wait(60)
        self.wfile.write(content[half:])


@contextmanager
def serve_hub() -> Iterator[HubServer]:
    """A hub that answers until it is left."""
    server = _Server(("127.0.0.1", 0), _Handler)
    hub = server.hub = HubServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        if hub.holds is not None:
            hub.holds.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
