"""Where a program may load adapters from and save them to: its `/scratch`, and its user's folder at the operator's.

A path under `/scratch` is walked as the program's own file calls are. Any other path is a name below
`<PIE_HOME>/adapters/<user>`, which programs can read through `load` only; links there are the operator's own.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path, PurePosixPath

from pie.errors import AdapterError
from pie.forward import AdapterFiles
from pie.wasm.guest import Guest
from pie.wasm.wasi.filesystem import SCRATCH, scratch_of
from pie.wasm.wasi.scratch import Scratch

__all__ = ["read_files", "read_local_files", "write_file"]

_NAME = re.compile(r"[A-Za-z0-9_@+-][A-Za-z0-9._@+-]{0,127}")
_MAX_BYTES = 1 << 30
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"


async def read_files(guest: Guest, path: str, *, folder: Path, user: str) -> AdapterFiles:
    """Read an adapter: a file of ours, or a PEFT directory.

    Args:
        guest: whose `/scratch` it may lie in.
        path: as the program gave it.
        folder: `<PIE_HOME>/adapters`.
        user: whose folder in it.

    Raises:
        AdapterError: `adapter-not-found`; `adapter-unusable` for a folder without a PEFT adapter or too large a file.
    """
    within = _within_scratch(path)
    if within is not None:
        return _read(_ScratchFolder(guest), within, path)  # its quota is counted on the event loop
    return await asyncio.to_thread(_read, _OperatorFolder(folder, user), path, path)


def read_local_files(path: Path) -> AdapterFiles:
    """Read an adapter from anywhere on this machine, for its operator.

    Raises:
        AdapterError: as `read_files`.
    """
    return _read(_LocalFolder(path), "", str(path))


async def write_file(guest: Guest, path: str, content: bytes) -> None:
    """Write a file in `/scratch`, in place of one that is there, complete or not at all.

    Raises:
        AdapterError: `adapter-not-saved`.
    """
    within = _within_scratch(path)
    if within is None:
        raise _not_saved(path, f"it is not under {SCRATCH}")
    try:
        _write(_scratch(guest), within, content)
    except OSError as error:
        raise _not_saved(path, str(error.strerror or error)) from error


class _ScratchFolder:
    """Files below `/scratch`."""

    def __init__(self, guest: Guest) -> None:
        self._scratch = _scratch(guest)

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if there is none, or a folder."""
        root = self._scratch.open_root()
        try:
            file = self._scratch.open_at(
                root.descriptor, path, create=False, exclusive=False, directory=False, write=False
            )
        except OSError:
            return None
        finally:
            root.release()
        try:
            return None if file.is_folder else file.read(_MAX_BYTES + 1, 0)
        finally:
            file.release()


class _OperatorFolder:
    """Files below the folder of a user."""

    def __init__(self, folder: Path, user: str) -> None:
        self._root = folder / user if _NAME.fullmatch(user) else None

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if there is none, or a folder."""
        if self._root is None or not all(_NAME.fullmatch(part) for part in path.split("/")):
            return None
        try:
            with (self._root / path).open("rb") as file:
                return file.read(_MAX_BYTES + 1)
        except OSError:
            return None


class _LocalFolder:
    """A file, or the files in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if there is none, or a folder."""
        try:
            with (self._path / path.lstrip("/")).open("rb") as file:
                return file.read(_MAX_BYTES + 1)
        except OSError:
            return None


def _read(source: _ScratchFolder | _OperatorFolder | _LocalFolder, path: str, told: str) -> AdapterFiles:
    content = source.read(path)
    if content is not None:
        return AdapterFiles(_checked(content, told))
    config, weights = source.read(f"{path}/{_CONFIG}"), source.read(f"{path}/{_WEIGHTS}")
    if config is not None and weights is not None:
        return AdapterFiles(_checked(weights, told), _checked(config, told))
    if config is not None and source.read(f"{path}/{_PICKLE}") is not None:
        raise AdapterError(
            "adapter-unusable",
            f"{told} holds only pickled weights ({_PICKLE}), which can run code when loaded",
            remedy="Save the adapter as safetensors.",
        )
    if config is not None or weights is not None:
        missing = _CONFIG if config is None else _WEIGHTS
        raise AdapterError(
            "adapter-unusable", f"{told} holds no {missing}", remedy="Save the adapter again, as PEFT does it."
        )
    raise AdapterError(
        "adapter-not-found",
        f"there is no adapter at {told!r}",
        remedy=f"Give a path below {SCRATCH}, or a name in the folder of your user in PIE_HOME/adapters.",
    )


def _checked(content: bytes, told: str) -> bytes:
    if len(content) > _MAX_BYTES:
        raise AdapterError(
            "adapter-unusable", f"a file of {told} is larger than {_MAX_BYTES} bytes", remedy="Give a smaller one."
        )
    return content


def _within_scratch(path: str) -> str | None:
    """The path below `/scratch`, or None if it is not there; `..` is refused by the scratch folder itself."""
    parts = PurePosixPath(path).parts
    mount = PurePosixPath(SCRATCH).parts
    return "/".join(parts[len(mount) :]) if parts[: len(mount)] == mount and len(parts) > len(mount) else None


def _write(scratch: Scratch, path: str, content: bytes) -> None:
    root, temporary = scratch.open_root(), f"{path}.new"
    try:
        file = scratch.open_at(root.descriptor, temporary, create=True, exclusive=True, directory=False, write=True)
        try:
            written = 0
            while written < len(content):
                written += file.write(content[written:], written)
        except OSError:
            scratch.unlink(root.descriptor, temporary)
            raise
        finally:
            file.release()
        scratch.rename(root.descriptor, temporary, root.descriptor, path)
    finally:
        root.release()


def _scratch(guest: Guest) -> Scratch:
    scratch = scratch_of(guest)
    if scratch is None:
        raise AdapterError("adapter-not-found", f"this program has no {SCRATCH}", remedy="Give it a scratch folder.")
    return scratch


def _not_saved(path: str, cause: str) -> AdapterError:
    return AdapterError(
        "adapter-not-saved", f"{path!r} cannot be written: {cause}", remedy=f"Give a path below {SCRATCH} with room."
    )
