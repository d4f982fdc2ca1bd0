"""A model whose loading a test holds up: its config.json is a pipe, which nobody can read before the test writes."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["HeldModel"]


class HeldModel:
    """A model's directory; whoever loads it waits until `release`, which must be called while somebody does."""

    def __init__(self, folder: Path) -> None:
        """Hold up the model in `folder`."""
        self.folder = folder
        self._file = folder / "config.json"
        self._content = self._file.read_bytes()
        self._file.unlink()
        os.mkfifo(self._file)
        self._is_held = True

    def release(self) -> None:
        """Let it be loaded; a second call does nothing."""
        if not self._is_held:
            return
        self._is_held = False
        with self._file.open("wb") as pipe:  # returns when somebody reads
            ordinary = self.folder / "config.json.new"
            ordinary.write_bytes(self._content)
            ordinary.replace(self._file)
            pipe.write(self._content)
