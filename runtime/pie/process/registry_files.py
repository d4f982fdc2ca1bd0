"""Where a registry's files are read from: a folder, or a web server that the operator has named."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Protocol

from pie.errors import PieError, ProgramError

__all__ = ["RegistryFiles", "open_registry", "unusable"]

URL = re.compile(r"https?://.*", re.IGNORECASE)


class RegistryFiles(Protocol):
    """The files of a registry, by their paths in it."""

    async def read(self, path: str, *, max_bytes: int, timeout_s: float) -> bytes | None:
        """A file; None if it is not there. Raises ProgramError(`registry-unusable`)."""
        ...


def open_registry(where: str) -> RegistryFiles:
    """A registry at an http or https address, or in a folder.

    Raises:
        ProgramError: `registry-unusable` if there is no such folder.
    """
    if URL.fullmatch(where):
        return _Web(where.rstrip("/"))
    folder = Path(where)
    if not folder.is_dir():
        raise unusable(f"there is no folder {where}")
    return _Folder(folder)


def unusable(cause: str) -> ProgramError:
    """The error for a registry that is not as it should be."""
    return ProgramError(
        "registry-unusable", f"the registry cannot be used: {cause}", remedy="Check --registry, or ask who keeps it."
    )


class _Folder:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, path: str, *, max_bytes: int, timeout_s: float) -> bytes | None:
        async with asyncio.timeout(timeout_s):
            return await asyncio.to_thread(self._read, path, max_bytes)

    def _read(self, path: str, max_bytes: int) -> bytes | None:
        try:
            with (self._folder / path).open("rb") as file:
                content = file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unusable(f"{self._folder / path}: {error.strerror}") from error
        if len(content) > max_bytes:
            raise unusable(f"{self._folder / path} has more than {max_bytes} bytes")
        return content


class _Web:
    """A web server that offers such a folder."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def read(self, path: str, *, max_bytes: int, timeout_s: float) -> bytes | None:
        from pie.egress.download import download

        try:
            return await download(f"{self._address}/{path}", max_bytes=max_bytes, timeout_s=timeout_s)
        except PieError as error:
            raise unusable(error.cause) from None
