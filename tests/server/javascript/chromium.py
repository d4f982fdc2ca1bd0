"""Pages on loopback, and a Chromium that shows one and is gone afterwards, with all that it wrote."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from pie.server.listening import answering, listen_at

__all__ = ["Chromium", "Pages", "left_of", "pages"]

LONG_S = 60
FLAGS = (
    "--headless",
    "--no-sandbox",  # which root, as in many a container, cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
)
PAGE = """<!doctype html>
<script src="/client.js"></script>
<script type="module">
const {{ Client, PrivateKey }} = pie;
const told = (promise) => promise.then(
  (value) => ['value', value],
  (error) => [error.constructor.name, error.code, error.cause],
);
async function main(url, given) {{
{body}
}}
const answer = await main({url}, {given}).then((value) => ({{ value }}), (error) => ({{ error: String(error) }}));
await fetch('/told', {{ method: 'POST', body: JSON.stringify(answer) }});
</script>
"""


class Pages:
    """The pages of one port, each under a path of its own.

    Attributes:
        port: where they are; by whatever name a browser asks for them, that is their origin.
    """

    def __init__(self, bundle: Path, port: int) -> None:
        """Show pages that load `bundle`."""
        self.port = port
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self._text = ""
        client = Route("/client.js", lambda _: FileResponse(bundle, media_type="text/javascript"))
        self.app = Starlette(routes=[client, Route("/", self._page), Route("/told", self._take, methods=["POST"])])

    def show(self, url: str, body: str, given: dict[str, Any]) -> None:
        """From now on the page runs the body of `async main(url, given)`."""
        self._text = PAGE.format(url=json.dumps(url), body=body, given=json.dumps(given))

    async def _page(self, _request: Request) -> Response:
        return HTMLResponse(self._text)

    async def _take(self, request: Request) -> Response:
        self.told.put_nowait(await request.json())
        return Response(status_code=204)


@asynccontextmanager
async def pages(bundle: Path) -> AsyncIterator[Pages]:
    """Pages, until the block is left."""
    with listen_at("127.0.0.1", 0) as listening:
        served = Pages(bundle, listening.getsockname()[1])
        async with answering(served.app, listening):
            yield served


@dataclass(frozen=True, slots=True)
class Chromium:
    """Runs scripts in a page.

    Attributes:
        program: the browser.
        pages: what it shows.
        folder: where each run has a folder of its own as long as it lasts.
    """

    program: str
    pages: Pages
    folder: Path

    async def run(self, url: str, body: str, *, host: str = "localhost", **given: Any) -> Any:
        """What the body of `async main(url, given)` returns, in a page of `host`."""
        self.pages.show(url, body, given)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            answer = await self._told_at(f"http://{host}:{self.pages.port}/", Path(name))
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    async def _told_at(self, page: str, folder: Path) -> Any:
        said = folder / "stderr"
        with said.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                self.program,
                *FLAGS,
                f"--user-data-dir={folder / 'profile'}",
                page,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            async with asyncio.timeout(LONG_S):
                return await self.pages.told.get()
        except TimeoutError:
            pytest.fail(f"the page told nothing: {said.read_text(errors='replace')[-2000:]}")
        finally:
            await _end(folder)
            await process.wait()


async def _end(folder: Path) -> None:
    async with asyncio.timeout(LONG_S):
        while left := left_of(folder):  # its helpers, some of which have left its session
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)


def left_of(folder: Path) -> list[int]:
    """The processes that were started with this folder, or one below it, in their arguments or their environment."""
    return [int(place.name) for place in Path("/proc").glob("[0-9]*") if os.fsencode(folder) in _started_with(place)]


def _started_with(place: Path) -> bytes:
    try:
        return (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
    except OSError:  # it has ended meanwhile, or is somebody else's
        return b""
