"""The JavaScript client as a package that scripts of node import, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SDK = Path(__file__).parents[3] / "sdk" / "client-javascript"
LONG_S = 60
AROUND = """
import * as pie from {package};
import {{ createRequire }} from 'node:module';
const {{ Client, PrivateKey }} = pie;
const require = createRequire(import.meta.url);
const [url, given] = [process.argv[2], JSON.parse(process.argv[3])];
const told = (promise) => promise.then(
  (value) => ['value', value],
  (error) => [error.constructor.name, error.code, error.cause],
);
const connected = async (user = 'me') => {{
  const client = await Client.connect(url);
  await client.authenticate(user);
  return client;
}};
async function main() {{
{body}
}}
console.log(JSON.stringify(await main()));
"""


@dataclass(frozen=True, slots=True)
class Node:
    """Runs scripts that import the client.

    Attributes:
        node: the program.
        folder: holds `node_modules/pie-client` and what it needs.
    """

    node: str
    folder: Path
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    async def run(self, url: str, body: str, *, package: str = "pie-client", **given: Any) -> Any:
        """What the body of `async main()` returns; the process must end by itself, so nothing is left open."""
        return await self.script(AROUND.format(body=body, package=json.dumps(package)), url, json.dumps(given))

    async def script(self, text: str, *arguments: str) -> Any:
        """What a module prints in its last line, as JSON."""
        file = self.folder / f"script-{len(list(self.folder.glob('script-*')))}.mjs"
        file.write_text(textwrap.dedent(text))
        process = await asyncio.create_subprocess_exec(
            self.node,
            *self.flags,
            file,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
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

    def esbuild(self, *arguments: str) -> None:
        """Bundle or translate."""
        subprocess.run([SDK / "node_modules" / ".bin" / "esbuild", *arguments, "--log-level=error"], check=True)


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """The package, built."""
    program, modules = shutil.which("node"), SDK / "node_modules"
    if program is None or not modules.is_dir():
        pytest.skip("needs Node.js, and the npm packages beside the client: make javascript")
    folder = tmp_path_factory.mktemp("javascript")
    package = folder / "node_modules" / "pie-client"
    package.mkdir(parents=True)
    shutil.copy(SDK / "package.json", package)
    subprocess.run([modules / ".bin" / "tsc", "-p", SDK, "--outDir", package / "dist"], check=True)
    for name in ("@msgpack", "@noble", "ws"):
        (folder / "node_modules" / name).symlink_to(modules / name)
    return Node(program, folder)


@pytest.fixture(scope="session")
def bundle(javascript: Node) -> Path:
    """The browser's half in one file, for a page, where it is called `pie`."""
    entry, made = javascript.folder / "page.mjs", javascript.folder / "page.js"
    entry.write_text("export * from 'pie-client';\n")
    javascript.esbuild(
        str(entry), "--bundle", "--platform=browser", "--format=iife", "--global-name=pie", f"--outfile={made}"
    )
    return made
