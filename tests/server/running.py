"""What tests of the server use: programs packed as bytes, and the client of Pie 0.4 as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any, Protocol

import pytest

from pie.build.packed import pack_program

__all__ = ["TALKER", "Install", "Upstream", "pack"]

UPSTREAM = Path(sys.prefix) / "upstream-client"
LONG_S = 60

TALKER = """
from inferlet import session


async def main(input):
    for text in input.get("say", []):
        session.send(text)
    for _ in range(input.get("hear", 0)):
        session.send("heard " + await session.receive())
    for _ in range(input.get("files", 0)):
        session.send_file(await session.receive_file() + b"!")
    if "print" in input:
        print(input["print"])
    if "fail" in input:
        raise ValueError(input["fail"])
    return input.get("value")
"""


class Install(Protocol):
    """Puts a program of source text into the server's store."""

    def __call__(self, name: str, text: str, *, version: str = "0.1.0", parameters: str = "") -> str:
        """Install it; its identifier."""
        ...


def pack(folder: Path, text: str) -> bytes:
    """A program of one file, as it is uploaded."""
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text(textwrap.dedent(text))
    return pack_program(folder)


class Upstream:
    """The package pie-client 0.4.0 as PyPI has it, which has the same name as ours."""

    def __init__(self, folder: Path) -> None:
        """Write files that it uploads to `folder`."""
        self.folder = folder

    async def run(self, url: str, body: str, **given: Any) -> Any:
        """What the body of `async def main(client, given)` returns, run with an open client."""
        if not UPSTREAM.is_dir():
            pytest.fail("pie-client 0.4.0 is not there: run `make install`")
        script = (
            "import asyncio, json, sys\nfrom pie_client import *\n"
            "async def main(client, given):\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\n"
            "async def run():\n"
            "    async with PieClient(sys.argv[1]) as client:\n"
            "        print(json.dumps(await main(client, json.loads(sys.argv[2]))))\n"
            "asyncio.run(run())\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            url,
            json.dumps(given),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(UPSTREAM)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LONG_S):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, err.decode()
        return json.loads(out.splitlines()[-1])
