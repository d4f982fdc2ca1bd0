"""A command that shows one program from its start to its end: its streams, its signals, and the exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial

from pie.cli.interrupt import Interrupt, Interrupted
from pie.cli.output import Output
from pie.cli.printer import Printer
from pie.cli.terminal import Progress
from pie.errors import PieError, UsageError

__all__ = ["Work", "show"]

Work = Callable[[Printer, Progress, Interrupt], Awaitable[None]]
"""Runs a program and shows it; it is cancelled by a signal, or when stdout cannot be written."""


async def show(work: Work, *, as_json: bool, debug: bool) -> int:
    """Do `work` with our streams.

    Args:
        work: what is to be done.
        as_json: whether events are shown as lines of JSON.
        debug: whether the traceback of a program is shown.

    Returns:
        The exit code.

    Raises:
        PieError: the program's, or `cannot-write`.
        BrokenPipeError: the reader of stdout has left.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is None:
        raise RuntimeError("needs a running task")
    with (
        closing(Output(sys.stdout, on_failure=task.cancel)) as stdout,
        closing(Output(sys.stderr)) as stderr,
        Interrupt(partial(loop.call_soon_threadsafe, task.cancel)) as interrupt,
        Progress() as progress,
    ):
        printer = Printer(stdout, stderr, as_json=as_json, debug=debug)
        try:
            await _work_and_flush(work, printer, progress, interrupt)
        except (asyncio.CancelledError, Interrupted, OSError):
            if interrupt.code is not None:
                return interrupt.code
            if stdout.failure is not None:
                raise _cannot_write(stdout.failure) from None
            raise
    return 0


async def _work_and_flush(work: Work, printer: Printer, progress: Progress, interrupt: Interrupt) -> None:
    try:
        await work(printer, progress, interrupt)
    except PieError as error:
        progress.finish()
        printer.error(error)
        await printer.flush()
        raise
    await printer.flush()


def _cannot_write(failure: OSError) -> Exception:
    if isinstance(failure, BrokenPipeError):
        return failure
    return UsageError(
        "cannot-write", f"stdout: {failure.strerror}", remedy="Free some space, or send the output elsewhere."
    )
