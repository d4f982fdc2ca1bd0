"""A process that makes random changes in a program store, and tells each of them before and after.

Started with the store's folder, a seed, the number of changes and the names of programs, a letter each; it writes lines
`begin IDENTIFIER NUMBER` and `done`.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from pie.process.store import ProgramStore

__all__ = ["REMOVED", "content_of"]

HEADER = b"\0asm\x0d\0\x01\0"
REMOVED = "-"


def content_of(number: str) -> bytes:
    """A program of up to 200 kB that says its number."""
    return HEADER + number.encode() * (1 + 30_000 * (int(number) % 3))


def work(folder: Path, seed: int, *, changes: int, names: str) -> None:
    """Make random changes."""
    draw, store = random.Random(seed), ProgramStore(folder)
    for _ in range(changes):
        name, version = draw.choice(names), f"0.{draw.randrange(3)}.0"
        number = REMOVED if draw.random() < 0.3 else str(draw.randrange(9))
        os.write(1, f"begin {name}@{version} {number}\n".encode())
        if number != REMOVED:
            manifest = f'[package]\nname = "{name}"\nversion = "{version}"\n'
            store.install(content_of(number), manifest, replace=True)
        elif store.has(name, version):
            store.remove(f"{name}@{version}")
        os.write(1, b"done\n")


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), changes=int(sys.argv[3]), names=sys.argv[4])
