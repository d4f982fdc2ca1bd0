"""A process that publishes one version after another to the registry whose folder it is given, from a version on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pie.process.publishing import publish
from pie.process.release import Release

__all__ = ["release_of"]


def release_of(number: int) -> Release:
    """A release of up to 60 kB."""
    content = b"\0asm\x0d\0\x01\0" + str(number).encode() * (1 + 10_000 * (number % 3))
    return Release.of(content, f'[package]\nname = "chat"\nversion = "0.{number}.0"\n')


if __name__ == "__main__":
    number = int(sys.argv[2])
    while True:
        os.write(1, f"{number}\n".encode())
        publish(release_of(number), Path(sys.argv[1]))
        number += 1
