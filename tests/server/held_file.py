"""Files whose reading a test holds up: pipes, which nobody can read before the test writes."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

__all__ = ["HeldFile", "HeldModel"]


class HeldFile:
    """A file; whoever reads it waits until `release`."""

    def __init__(self, path: Path) -> None:
        """Hold up whoever reads `path`."""
        self._path = path
        self._content = path.read_bytes()
        self._is_held = True
        self._pipe: int | None = None
        path.unlink()
        os.mkfifo(path)

    def wait_for_reader(self) -> None:
        """Wait until somebody has begun to read it, who then waits for `release`."""
        while self._pipe is None:
            try:
                self._pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # nobody reads
                    raise
                time.sleep(0.01)

    def release(self) -> None:
        """Let whoever reads it have it, and wait until somebody does; a second call does nothing."""
        if self._is_held:
            self.wait_for_reader()
            assert self._pipe is not None
            os.set_blocking(self._pipe, True)
            with os.fdopen(self._pipe, "wb") as pipe:
                self.restore()
                pipe.write(self._content)

    def restore(self) -> None:
        """Make a file of it again; who reads it already has nothing of that."""
        self._is_held = False
        ordinary = self._path.with_suffix(".new")
        ordinary.write_bytes(self._content)
        ordinary.replace(self._path)


class HeldModel(HeldFile):
    """A model; whoever loads it waits until `release`, which must be called while somebody does."""

    def __init__(self, folder: Path) -> None:
        """Hold up the model in `folder`."""
        super().__init__(folder / "config.json")
        self.folder = folder
