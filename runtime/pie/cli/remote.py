"""`pie run --server`: a program on a running server, uploaded first if it lies here and the server lacks it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pie.cli.connecting import Place, connected
from pie.cli.following import follow
from pie.cli.interrupt import Interrupt
from pie.cli.printer import Printer
from pie.cli.terminal import Progress

if TYPE_CHECKING:
    from pie.process.release import Release
    from pie_client import Client, Process

__all__ = ["Remote"]


@dataclass(frozen=True, slots=True)
class Remote:
    """One launch on a running server; calling it does it, as `show` asks.

    Attributes:
        place: the server.
        word: the path of a program, or the name of one that the server has.
        value: its input.
        token_budget: how many tokens it may spend.
        tools_dir: where npm packages may be installed.
        detach: whether to leave it alone once it has been launched.
    """

    place: Place
    word: str
    value: Any
    token_budget: int | None
    tools_dir: Path
    detach: bool

    async def __call__(self, printer: Printer, progress: Progress, interrupt: Interrupt) -> None:
        """Launch it, and follow it to its end; a signal, or a reader that leaves, ends it on the server."""
        from pie_client import ClientError

        async with connected(self.place) as client:
            name = await self._upload(client, progress)
            progress.finish()
            launching = asyncio.create_task(
                client.launch_process(name, self.value, token_budget=self.token_budget, detached=self.detach),
                name="launch",
            )
            try:
                await self._follow(await asyncio.shield(launching), printer)
            except asyncio.CancelledError:
                with suppress(ClientError):  # it has ended in the meantime
                    await (await launching).terminate()
                raise

    async def _follow(self, process: Process, printer: Printer) -> None:
        if self.detach:
            click.echo(process.process_id)
        else:
            await follow(process, printer)

    async def _upload(self, client: Client, progress: Progress) -> str:
        """The name by which the server knows the program."""
        release = await asyncio.to_thread(self._release, progress)
        if release is None:
            return self.word
        name, manifest = f"{release.name}@{release.version}", release.manifest_text
        if not await client.check_program(name, wasm=release.content, manifest=manifest):
            progress(f"Uploading {name}")
            await client.install_program(release.content, manifest, replace=True)
        return name

    def _release(self, progress: Progress) -> Release | None:
        """What lies here under that path; None if nothing does, and the server may know the name."""
        from pie.process.identifier import is_identifier
        from pie.process.release import read_release

        path = Path(self.word)
        if not path.exists() and is_identifier(self.word):
            return None
        return read_release(path, tools_dir=self.tools_dir, progress=progress)
