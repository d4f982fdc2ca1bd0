"""`pie send`: give a text or a file to a process of a running server, whoever listens to it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import click

from pie.cli.completing import running_processes
from pie.cli.connecting import Place, connected, find_place, find_process, server_options
from pie.config import expand
from pie.errors import UsageError

__all__ = ["command"]

MAX_TEXT_BYTES = 4 * 1000 * 1000
"""Of one text: servers refuse frames above 4 MiB."""


@click.command("send", short_help="Give a text or a file to a process.")
@click.argument("process_id", metavar="ID", shell_complete=running_processes)
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@click.option("--file", "path", metavar="PATH", help="Give this file in place of a text; - is stdin.")
@server_options
def command(*, process_id: str, words: tuple[str, ...], path: str | None, **options: Any) -> None:
    """Give the process ID a text, which its `session.receive` takes, or a file, which its `session.receive_file` takes.

    Words are joined by spaces; a single - reads all of stdin as one text. ID may be shortened as far as it is unique.
    The process may have another listener, or none.

    \b
    Examples:
      pie send 3f2a go on
      git diff | pie send 3f2a -
      pie send 3f2a --file picture.png
    """
    if bool(words) == (path is not None):
        raise click.UsageError("give a text, or a file with --file.")
    place = find_place(os.environ, **options)
    if path is not None:
        data = _stdin() if path == "-" else expand(path).read_bytes()
        asyncio.run(_send(place, process_id, data))
        return
    asyncio.run(_send(place, process_id, _text(words)))


def _text(words: tuple[str, ...]) -> str:
    text = _stdin().decode("utf-8", "replace").removesuffix("\n") if words == ("-",) else " ".join(words)
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_TEXT_BYTES:
        raise UsageError(
            "message-too-large",
            f"the text has {size} bytes, more than {MAX_TEXT_BYTES}",
            remedy="Send it as a file, with --file.",
        )
    return text


def _stdin() -> bytes:
    return b"" if sys.stdin is None else sys.stdin.buffer.read()


async def _send(place: Place, word: str, content: str | bytes) -> None:
    async with connected(place) as client:
        process_id = await find_process(client, word)
        if isinstance(content, str):
            await client.send_text(process_id, content)
        else:
            await client.send_file(process_id, content)
