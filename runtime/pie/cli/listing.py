"""How listings look: columns as wide as their longest entry, sizes, times, and the nearest name for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import click

__all__ = ["nearest_name", "size", "table", "when"]

MEGABYTE = 1_000_000
LONGEST = 60


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print rows under a head; if there are none, say so on stderr."""
    if not rows:
        click.echo(empty, err=True)
        return
    shown = [[_short(_printable(cell)) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for number, row in enumerate(shown):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def size(num_bytes: int) -> str:
    """Bytes for people."""
    return f"{num_bytes / MEGABYTE:,.1f} MB" if num_bytes >= MEGABYTE / 10 else f"{num_bytes:,} B"


def when(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC, such as 2030-01-31T12:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def nearest_name(name: str, known: Collection[str], listing: str) -> str:
    """The remedy for a name that is not known: the nearest one, or the command that lists them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"`{listing}` shows what there is."


def _printable(text: str) -> str:
    """The text without what would move the cursor or change colours of a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
