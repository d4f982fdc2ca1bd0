"""`pie serve` as a process of its own, which can be killed, bounded and weighed."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ServerProcess", "started"]

LONG_S = 100
READY = re.compile(r"Serving \S+ at (ws://\S+)\n")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that has told its address.

    Attributes:
        url: where clients connect.
        process: what runs it.
    """

    url: str
    process: subprocess.Popen[str]

    def private_bytes(self) -> int:
        """Its memory that belongs to no file."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in status)
        return int(fields["RssAnon"].split()[0]) * 1024

    def num_files(self) -> int:
        """Its open file descriptors."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def limit_files_to(self, num_bytes: int) -> None:
        """Let no file that it writes become longer, as on a disk that is full."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (num_bytes, hard))


@contextmanager
def started(home: Path, cache: Path, *options: str, **environment: str) -> Iterator[ServerProcess]:
    """A server that lets everybody in, with folders, options and variables as given; it is killed in the end."""
    home.mkdir(exist_ok=True)
    variables = {**os.environ, "PIE_HOME": str(home), "PIE_CACHE": str(cache), "OMP_NUM_THREADS": "1", **environment}
    words = [sys.executable, "-m", "pie", "serve", "--port", "0", "--no-auth", *options]
    with (
        (home / "log").open("ab") as log,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, env=variables, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            ready = READY.fullmatch(process.stdout.readline())
            assert ready is not None, (home / "log").read_text()
            yield ServerProcess(ready[1], process)
        finally:
            process.kill()
