"""wasi:filesystem: a guest's scratch folder, at `/scratch`, and nothing else. Links are refused."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import Any, cast

from pie.wasm.imports import Imports
from pie.wasm.values import Err, Variant
from pie.wasm.wasi.clocks import datetime
from pie.wasm.wasi.scratch import OpenFile, Scratch
from pie.wasm.wasi.streams import CHUNK_BYTES, OutputStream, ReadyInput, StreamError, StreamFailure

__all__ = ["SCRATCH", "define", "scratch_of"]

_TYPES = "wasi:filesystem/types"
SCRATCH = "/scratch"
_CODES = {
    errno.EACCES: "access",
    errno.EBADF: "bad-descriptor",
    errno.EBUSY: "busy",
    errno.EDQUOT: "quota",
    errno.EEXIST: "exist",
    errno.EFBIG: "file-too-large",
    errno.EINVAL: "invalid",
    errno.EISDIR: "is-directory",
    errno.ELOOP: "loop",
    errno.EMLINK: "too-many-links",
    errno.ENAMETOOLONG: "name-too-long",
    errno.ENOENT: "no-entry",
    errno.ENOSPC: "insufficient-space",
    errno.ENOTDIR: "not-directory",
    errno.ENOTEMPTY: "not-empty",
    errno.EPERM: "not-permitted",
    errno.EROFS: "read-only",
    errno.EXDEV: "cross-device",
}


class Descriptor:
    """wasi:filesystem/types.descriptor: an open file or folder, with what the guest may do to it."""

    __slots__ = ("file", "flags")

    def __init__(self, file: OpenFile, flags: frozenset[str]) -> None:
        """Hold `file`; `flags` are WASI's descriptor-flags."""
        self.file = file
        self.flags = flags

    def close(self) -> None:
        """The guest dropped it; streams on it go on."""
        self.file.release()

    def folder(self) -> int:
        """The file descriptor of a folder; raises OSError if it is none."""
        if not self.file.is_folder:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")
        return self.file.descriptor

    def readable(self) -> OpenFile:
        """The file, if its bytes may be read; raises OSError if not."""
        return self._file("read")

    def writable(self) -> OpenFile:
        """The file, if its bytes may be written; raises OSError if not."""
        return self._file("write")

    def _file(self, right: str) -> OpenFile:
        if self.file.is_folder:
            raise IsADirectoryError(errno.EISDIR, "a folder has no bytes")
        if right not in self.flags:
            raise OSError(errno.EBADF, f"not open for {right}")
        return self.file


class DirectoryEntryStream:
    """wasi:filesystem/types.directory-entry-stream: the entries of a folder as it was when the guest asked."""

    __slots__ = ("_entries",)

    def __init__(self, folder: int) -> None:
        """List an open folder."""
        with os.scandir(folder) as entries:
            self._entries = iter([_entry(entry) for entry in entries])

    def next(self) -> dict[str, str] | None:
        """The next entry, None after the last one."""
        return next(self._entries, None)


class _Source:
    """Reads a file from an offset on."""

    def __init__(self, file: OpenFile, offset: int) -> None:
        self._file, self._offset = file.hold(), offset

    def read(self, size: int) -> bytes:
        try:
            data = self._file.read(size, self._offset)
        except OSError as error:
            raise StreamFailure(str(error), _code(error)) from error
        self._offset += len(data)
        return data


class _FileInput(ReadyInput):
    """An input stream on a file."""

    def __init__(self, file: OpenFile, offset: int) -> None:
        super().__init__(_Source(file, offset))
        self._file = file

    def close(self) -> None:
        """The guest dropped it."""
        self._file.release()


class _FileOutput(OutputStream):
    """An output stream on a file, from an offset on or at its end."""

    def __init__(self, file: OpenFile, offset: int | None) -> None:
        super().__init__(self._write)
        self._file, self._offset = file.hold(), offset

    def close(self) -> None:
        """The guest dropped it."""
        self._file.release()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = self._file.write(bytes(view), self._offset)
                if self._offset is not None:
                    self._offset += written
                view = view[written:]
        except OSError as error:
            raise StreamFailure(str(error), _code(error)) from error


def _code(error: OSError) -> str:
    return _CODES.get(error.errno or 0, "io")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISREG(mode):
        return "regular-file"
    return "symbolic-link" if stat.S_ISLNK(mode) else "unknown"


def _entry(entry: os.DirEntry[str]) -> dict[str, str]:
    name = entry.name.encode(errors="surrogateescape").decode(errors="replace")
    return {"type": _kind(entry.stat(follow_symlinks=False).st_mode), "name": name}


def _describe(status: os.stat_result) -> dict[str, Any]:
    return {
        "type": _kind(status.st_mode),
        "link_count": status.st_nlink,
        "size": status.st_size,
        "data_access_timestamp": datetime(status.st_atime_ns),
        "data_modification_timestamp": datetime(status.st_mtime_ns),
        "status_change_timestamp": datetime(status.st_ctime_ns),
    }


def _hash(status: os.stat_result) -> dict[str, int]:
    digest = hashlib.blake2b(f"{status.st_dev} {status.st_ino}".encode(), digest_size=16).digest()
    return {"lower": int.from_bytes(digest[:8], "little"), "upper": int.from_bytes(digest[8:], "little")}


def _status_at(descriptor: Descriptor, follow: frozenset[str], path: str) -> os.stat_result:
    with descriptor.file.scratch.parent_of(descriptor.folder(), path) as (parent, name):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if follow and stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "symbolic links are not followed")
    return status


def _time(new: Variant, current: int) -> int:
    match new.tag:
        case "now":
            return time.time_ns()
        case "timestamp":
            return int(new.payload["seconds"]) * 1_000_000_000 + int(new.payload["nanoseconds"])
        case _:
            return current


def _set_times(descriptor: Descriptor, accessed: Variant, modified: Variant) -> None:
    status = os.fstat(descriptor.file.descriptor)
    times = _time(accessed, status.st_atime_ns), _time(modified, status.st_mtime_ns)
    if max(times) >= 1 << 62:
        raise OSError(errno.EINVAL, "the time is too far away")
    os.utime(descriptor.file.descriptor, ns=times)


def _set_times_at(
    descriptor: Descriptor, _follow: frozenset[str], path: str, accessed: Variant, modified: Variant
) -> None:
    file = descriptor.file.scratch.open_at(
        descriptor.folder(), path, create=False, exclusive=False, directory=False, write=False
    )
    try:
        _set_times(Descriptor(file, frozenset()), accessed, modified)
    finally:
        file.release()


def _open_at(
    descriptor: Descriptor, _follow: frozenset[str], path: str, how: frozenset[str], flags: frozenset[str]
) -> Descriptor:
    write = "write" in flags
    if "truncate" in how and not write:
        raise OSError(errno.EINVAL, "truncating needs the right to write")
    file = descriptor.file.scratch.open_at(
        descriptor.folder(),
        path,
        create="create" in how,
        exclusive="exclusive" in how,
        directory="directory" in how or path.endswith("/"),
        write=write,
    )
    try:
        if "truncate" in how:
            file.resize(0)
    except OSError:
        file.release()
        raise
    rights = frozenset({"read", "mutate-directory"}) if file.is_folder else flags & {"read", "write"}
    return Descriptor(file, rights)


def _read(descriptor: Descriptor, size: int, offset: int) -> tuple[bytes, bool]:
    data = descriptor.readable().read(min(size, CHUNK_BYTES), offset)
    return data, not data and size > 0


def _readlink(descriptor: Descriptor, path: str) -> str:
    if stat.S_ISLNK(_status_at(descriptor, frozenset(), path).st_mode):
        raise PermissionError(errno.EPERM, "links are refused")
    raise OSError(errno.EINVAL, "not a link")


def _refuse_link(*_arguments: Any) -> None:
    raise PermissionError(errno.EPERM, "links are refused")


async def _sync(descriptor: Descriptor) -> None:
    own = os.dup(descriptor.file.descriptor)  # the guest may drop its own while the thread is at it

    def flush() -> None:
        try:
            os.fsync(own)
        finally:
            os.close(own)

    await asyncio.to_thread(flush)


def scratch_of(guest: Any) -> Scratch | None:
    """What a guest sees as `/scratch`, if it has one; opened when first asked for."""
    wasi = guest.wasi
    if wasi.scratch is None:
        return None
    return cast(
        Scratch,
        guest.own(Scratch, lambda: Scratch(wasi.scratch(), wasi.scratch_quota_bytes, wasi.scratch_quota_files)),
    )


def _directories(guest: Any) -> list[tuple[Descriptor, str]]:
    scratch = scratch_of(guest)
    if scratch is None:
        return []
    return [(Descriptor(scratch.open_root(), frozenset({"read", "mutate-directory"})), SCRATCH)]


_METHODS: dict[str, Callable[..., Any]] = {
    "read-via-stream": lambda d, offset: _FileInput(d.readable(), offset),
    "write-via-stream": lambda d, offset: _FileOutput(d.writable(), offset),
    "append-via-stream": lambda d: _FileOutput(d.writable(), None),
    "advise": lambda _d, _offset, _length, _advice: None,
    "get-flags": lambda d: d.flags,
    "get-type": lambda d: "directory" if d.file.is_folder else "regular-file",
    "set-size": lambda d, size: d.writable().resize(size),
    "set-times": _set_times,
    "read": _read,
    "write": lambda d, data, offset: d.writable().write(data, offset),
    "read-directory": lambda d: DirectoryEntryStream(d.folder()),
    "create-directory-at": lambda d, path: d.file.scratch.make_folder(d.folder(), path),
    "stat": lambda d: _describe(os.fstat(d.file.descriptor)),
    "stat-at": lambda d, follow, path: _describe(_status_at(d, follow, path)),
    "set-times-at": _set_times_at,
    "link-at": _refuse_link,
    "open-at": _open_at,
    "readlink-at": _readlink,
    "remove-directory-at": lambda d, path: d.file.scratch.remove_folder(d.folder(), path),
    "rename-at": lambda d, path, to, new_path: d.file.scratch.rename(d.folder(), path, to.folder(), new_path),
    "symlink-at": _refuse_link,
    "unlink-file-at": lambda d, path: d.file.scratch.unlink(d.folder(), path),
    "metadata-hash": lambda d: _hash(os.fstat(d.file.descriptor)),
    "metadata-hash-at": lambda d, follow, path: _hash(_status_at(d, follow, path)),
}


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    def method(_guest: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except OSError as error:
            raise Err(_code(error)) from error

    return method


def _error_code(_guest: Any, error: StreamError) -> str | None:
    return error.code


def define(imports: Imports) -> None:
    """Offer wasi:filesystem."""
    imports.resource(_TYPES, "descriptor", Descriptor)
    imports.resource(_TYPES, "directory-entry-stream", DirectoryEntryStream)
    imports.function(_TYPES, "[method]directory-entry-stream.read-directory-entry", lambda _guest, s: s.next())
    imports.function(_TYPES, "filesystem-error-code", _error_code)
    for name, call in _METHODS.items():
        imports.function(_TYPES, f"[method]descriptor.{name}", _guarded(call))
    for name in ("sync", "sync-data"):
        imports.function(_TYPES, f"[method]descriptor.{name}", lambda _guest, d: _sync(d))
    imports.function(
        _TYPES,
        "[method]descriptor.is-same-object",
        lambda _guest, a, b: os.path.sameopenfile(a.file.descriptor, b.file.descriptor),
    )
    imports.function("wasi:filesystem/preopens", "get-directories", _directories)
