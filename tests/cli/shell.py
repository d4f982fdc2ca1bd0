"""How tests use the command line: within this process where they can, as a process of its own where signals matter."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pie.cli.main import main

__all__ = ["LONG_S", "Left", "Pie", "Shell", "is_mapped", "read_until", "wait_for", "write_program"]

GONE_S = 2.0
"""How long the system may take to clear away a process that has been killed."""

LONG_S = 100


def write_program(folder: Path, text: str, name: str = "main.py") -> str:
    """Write a program's file and return its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


@dataclass(frozen=True, slots=True)
class Left:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


class Pie:
    """The command in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str) -> Left:
        self._capture.readouterr()
        with pytest.raises(SystemExit) as left:
            main(words)
        written = self._capture.readouterr()
        code = left.value.code
        return Left(code if isinstance(code, int) else -1, written.out, written.err)


@dataclass(frozen=True, slots=True)
class Shell:
    """The command as a process, whose temporary files are looked at afterwards.

    Attributes:
        temporary: the folder of its temporary files.
        environment: its environment.
    """

    temporary: Path
    environment: Mapping[str, str]

    @contextmanager
    def start(
        self, *words: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A running `pie`; it is killed if the test leaves it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pie", *words],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env={**self.environment, "TMPDIR": str(self.temporary)},
            start_new_session=True,
        )
        try:
            with process:
                yield process
        finally:
            process.kill()

    def everything_is_gone(self, process: subprocess.Popen[bytes]) -> None:
        """Check that an ended command left neither processes nor temporary files."""
        assert not list(self.temporary.iterdir())
        deadline = time.monotonic() + GONE_S
        while left := [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _session(pid) == process.pid
        ]:
            assert time.monotonic() < deadline, left
            time.sleep(0.01)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def read_until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    """What it writes to stdout, up to some text."""
    assert process.stdout is not None
    written, deadline = b"", time.monotonic() + LONG_S
    while text not in written:
        ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
        assert ready, written
        part = os.read(process.stdout.fileno(), 65536)
        assert part, written
        written += part
    return written


def wait_for(condition: Callable[[], bool]) -> None:
    """Look again and again until something is so."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_mapped(process: subprocess.Popen[bytes], library: str) -> bool:
    """Whether it has loaded a library: a moment in the middle of its start."""
    return library in Path(f"/proc/{process.pid}/maps").read_text()
