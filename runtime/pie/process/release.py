"""A program and its manifest as they are handed around: made of a path, published, installed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pie.build.manifest import Manifest, find_manifest_file, parse_manifest
from pie.build.packed import SUFFIX as PACKED
from pie.build.packed import pack_program, read_packed
from pie.errors import ProgramError, unreadable
from pie.process.identifier import is_identifier

__all__ = ["COMPONENT", "MAX_MANIFEST_BYTES", "MAX_PROGRAM_BYTES", "Release", "read_release"]

COMPONENT = ".wasm"
MAX_PROGRAM_BYTES = 256 << 20
MAX_MANIFEST_BYTES = 64 << 10
MAGIC = b"\0asm"
Progress = Callable[[str], None]


_HANDLER = b"wasi:http/incoming-handler"


@dataclass(frozen=True, slots=True)
class Release:
    """A program that may have a name and a version; only the kind of its content has been looked at.

    Attributes:
        content: a component, or packed source text.
        suffix: of a file that holds it: `.wasm` or `.source`.
        manifest_text: its `Pie.toml`.
        manifest: the same, read.
    """

    content: bytes
    suffix: str
    manifest_text: str
    manifest: Manifest

    @classmethod
    def of(cls, content: bytes, manifest_text: str) -> Release:
        """Check a program and its manifest.

        Raises:
            ProgramError: `bad-manifest`, `not-a-component`, `bad-packed-program`, `program-too-large`.
        """
        manifest = _installable(manifest_text)
        return cls(content, _suffix_of(content), manifest_text, manifest)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.manifest.package.name

    @property
    def version(self) -> str:
        """Three numbers."""
        return self.manifest.package.version

    @property
    def is_daemon(self) -> bool:
        """Whether it answers HTTP requests: a component has the names of its exports in clear."""
        return self.is_component and _HANDLER in self.content

    @property
    def is_component(self) -> bool:
        """Whether it is a component, and no source text."""
        return self.suffix == COMPONENT


def read_release(
    path: Path,
    *,
    manifest: Path | None = None,
    tools_dir: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Release:
    """Make a release of the program at `path`: a `.wasm` or `.source` file, a source file or a folder.

    Args:
        path: where the program is.
        manifest: its `Pie.toml`; None if that lies beside it.
        tools_dir: where npm packages may be installed; None if they must be there already.
        progress: told in a short sentence what takes long.
        stop: another thread sets it to have the work given up.

    Raises:
        ProgramError: `no-manifest`, `program-not-found`, `io-error`, as `Release.of`, and for source text as
            `collect_source`.
    """
    file = manifest or find_manifest_file(path)
    if file is None:
        raise ProgramError(
            "no-manifest",
            f"{path} has no Pie.toml, so it has neither name nor version",
            remedy="Put a Pie.toml beside it, or name one with --manifest.",
        )
    text = _read(file, MAX_MANIFEST_BYTES)
    try:
        manifest_text = text.decode()
    except UnicodeDecodeError as error:
        raise ProgramError("bad-manifest", f"{file} is not TOML: {error}", remedy="Save it as UTF-8.") from None
    _installable(manifest_text)  # before anything is built
    if path.suffix in (COMPONENT, PACKED):
        return Release.of(_read(path, MAX_PROGRAM_BYTES), manifest_text)
    return Release.of(pack_program(path, tools_dir=tools_dir, progress=progress, stop=stop), manifest_text)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise _too_large(f"{path} has {size} bytes, more than {max_bytes}")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def _installable(text: str) -> Manifest:
    size = len(text.encode())
    if size > MAX_MANIFEST_BYTES:
        raise _too_large(f"the manifest has {size} bytes, more than {MAX_MANIFEST_BYTES}")
    manifest = parse_manifest(text, "Pie.toml")
    identifier = f"{manifest.package.name}@{manifest.package.version}"
    if not is_identifier(identifier):
        raise ProgramError(
            "bad-manifest",
            f"Pie.toml: a program cannot be installed as {identifier[:200]!r}",
            remedy="Use letters, digits and hyphens for the name, and three numbers such as 0.1.0 for the version.",
        )
    return manifest


def _suffix_of(content: bytes) -> str:
    """What a program's file is called, by what it holds."""
    if len(content) > MAX_PROGRAM_BYTES:
        raise _too_large(f"the program has {len(content)} bytes, more than {MAX_PROGRAM_BYTES}")
    if content.startswith(MAGIC):
        return COMPONENT
    if content.startswith(b"{"):
        read_packed(content)
        return PACKED
    raise ProgramError(
        "not-a-component",
        f"the program is not a valid WASM component: it begins with {content[:8].hex(' ') or 'nothing'}",
        remedy="Build it with `pie build`, or with a toolchain that makes WASM components.",
    )


def _too_large(cause: str) -> ProgramError:
    return ProgramError("program-too-large", cause, remedy="Make it smaller.")
