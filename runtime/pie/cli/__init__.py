"""The command line: one file per command, imported only when the command is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from pie.cli.signals import Signals

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Be the command `pie`: as `pie.cli.main.main`, which is imported when signals have been taken over."""
    signals = Signals()
    signals.take()
    from pie.cli.main import main as run

    run(arguments, signals=signals)
