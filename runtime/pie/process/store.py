"""The installed programs: their files and manifests, by name and version, kept until they are removed.

An operation is done when it returns, and not at all if it raises or the process is killed. Any number of processes and
threads may use one store. Every operation reads or writes the disk: on an event loop, call it in a thread.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pie.build.manifest import Manifest, parse_manifest
from pie.errors import ProgramError
from pie.process.blobs import Blobs, digest_of
from pie.process.identifier import Identifier, parse_identifier, version_order
from pie.process.index import Change, Index, Row, not_readable
from pie.process.release import COMPONENT, Release

__all__ = ["MAX_PROGRAMS", "ProgramStore", "StoredProgram"]

MAX_PROGRAMS = 10_000
"""Versions of all programs together."""


@dataclass(frozen=True, slots=True)
class StoredProgram:
    """An installed program.

    Attributes:
        name, version: what it is called.
        path: its file, which `Runtime.load` takes: a component (`.wasm`) or packed source text (`.source`).
        manifest: its `Pie.toml`.
        digest: BLAKE3 of the file, hex.
        manifest_digest: BLAKE3 of the text of the manifest, hex.
        size_bytes: of the file.
        installed_at: seconds since 1970.
    """

    name: str
    version: str
    path: Path
    manifest: Manifest
    digest: str
    manifest_digest: str
    size_bytes: int
    installed_at: float

    @property
    def identifier(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def kind(self) -> Literal["component", "source"]:
        """What its file holds."""
        return "component" if self.path.suffix == COMPONENT else "source"

    def describe(self) -> dict[str, Any]:
        """It as JSON, for listings."""
        return {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "description": self.manifest.package.description,
            "size_bytes": self.size_bytes,
            "digest": self.digest,
            "manifest_digest": self.manifest_digest,
            "installed_at": datetime.fromtimestamp(self.installed_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "path": str(self.path),
        }


class ProgramStore:
    """A folder of installed programs; made when the first one is installed."""

    def __init__(self, folder: Path) -> None:
        """Use what lies in `folder`, and clear away what a killed process has left there."""
        self._index = Index(folder)
        self._blobs = Blobs(folder / "blobs")
        with suppress(OSError):  # who uses a store that cannot be read is told so
            self._sweep(list(self._blobs.files()), wait_s=0)

    def install(self, wasm: bytes, manifest_text: str, *, replace: bool) -> StoredProgram:
        """Store a program under the name and version of its manifest.

        What is not the caller's own should have been compiled before (`Programs.check`); here only its kind is looked
        at.

        Args:
            wasm: a component, or what `pie.build.packed.pack_program` made.
            manifest_text: its `Pie.toml`.
            replace: whether it takes the place of another program of its name and version. Otherwise that one stays,
                and is returned: its digests tell whether it is the same. One whose file is damaged is always replaced.

        Raises:
            ProgramError: `bad-manifest`, `not-a-component`, `bad-packed-program`, `program-too-large`, `store-full`,
                `program-not-stored`, `store-busy`, `store-unusable`.
        """
        release = Release.of(wasm, manifest_text)
        row = Row(release.name, release.version, digest_of(wasm), release.suffix, len(wasm), manifest_text, time.time())
        with self._index.change() as change:
            before = _find_version(change.named(row.name), row.version)
            if before is not None and not replace and self._is_sound(before):
                return self._stored(before)
            _check_room(change, before)
            self._blobs.write(wasm, row.suffix)
            change.put(row)
        if before is not None:
            self._sweep([self._path(before)])
        return self._stored(row)

    def find(self, identifier: str) -> StoredProgram:
        """The program called `name@x.y.z`, or the newest version of `name`.

        Its file is read whole the first time, to see that it is as it was installed.

        Raises:
            ProgramError: `program-not-found` with the nearest names, `bad-identifier`, `program-damaged`,
                `store-unusable`, `store-busy`.
        """
        row = self._row(parse_identifier(identifier))
        if not self._is_sound(row):
            raise ProgramError(
                "program-damaged",
                f"the file of {row.name}@{row.version} is not what was installed",
                remedy="Install the program again.",
            )
        return self._stored(row)

    def has(self, name: str, version: str, *, wasm_hash: str | None = None, manifest_hash: str | None = None) -> bool:
        """Whether a program is installed and sound, with these digests (BLAKE3, hex) where they are given.

        Raises:
            ProgramError: `bad-identifier`, `store-unusable`, `store-busy`.
        """
        identifier = parse_identifier(f"{name}@{version}")
        row = _find_version(self._index.named(identifier.name), version)
        if row is None or not self._is_sound(row):
            return False
        manifest_digest = digest_of(row.manifest.encode())
        return wasm_hash in (None, row.digest) and manifest_hash in (None, manifest_digest)

    def list(self) -> Sequence[StoredProgram]:
        """All programs by name, older versions first. Their files are not looked at.

        Raises:
            ProgramError: `store-unusable`, `store-busy`.
        """
        rows = sorted(self._index.rows(), key=lambda row: (row.name, version_order(row.version)))
        return [self._stored(row) for row in rows]

    def remove(self, identifier: str) -> str:
        """Remove the program called `name@x.y.z`, or `name` if it has one version; returns its whole identifier.

        Raises:
            ProgramError: `program-not-found`, `bad-identifier`, `several-versions`, `program-not-stored`,
                `store-unusable`, `store-busy`.
        """
        wanted = parse_identifier(identifier)
        self._row(wanted)  # a store that is not there is not made in order to find nothing in it
        with self._index.change() as change:
            rows = change.named(wanted.name)
            if wanted.version is None and len(rows) > 1:
                versions = ", ".join(sorted((row.version for row in rows), key=version_order))
                raise ProgramError(
                    "several-versions",
                    f"{wanted.name} is there with {versions}",
                    remedy=f"Say which one, such as {wanted.name}@{rows[0].version}.",
                )
            row = _newest(rows) if wanted.version is None else _find_version(rows, wanted.version)
            if row is not None:  # otherwise another process was faster
                change.delete(row)
        if row is not None:
            self._sweep([self._path(row)])
        return f"{wanted.name}@{row.version if row is not None else wanted.version}"

    def _row(self, wanted: Identifier) -> Row:
        rows = self._index.named(wanted.name)
        row = _newest(rows) if wanted.version is None else _find_version(rows, wanted.version)
        if row is None:
            raise _not_found(wanted, rows, {row.name for row in self._index.rows()})
        return row

    def _stored(self, row: Row) -> StoredProgram:
        return StoredProgram(
            row.name,
            row.version,
            self._path(row),
            parse_manifest(row.manifest, f"the manifest of {row.name}@{row.version}"),
            row.digest,
            digest_of(row.manifest.encode()),
            row.size_bytes,
            row.installed_at,
        )

    def _path(self, row: Row) -> Path:
        return self._blobs.path(row.digest, row.suffix)

    def _is_sound(self, row: Row) -> bool:
        try:
            return self._blobs.is_sound(self._path(row))
        except OSError as error:
            raise not_readable(f"the file of {row.name}@{row.version}", error.strerror or str(error)) from error

    def _sweep(self, files: Sequence[Path], *, wait_s: float = 30.0) -> None:
        """Remove those files that belong to no program; nobody can be just writing one, since that locks the table.

        What cannot be removed now is left to whoever opens the store next.
        """
        if not files:
            return
        with suppress(ProgramError), self._index.change(wait_s=wait_s) as change:
            kept = change.files()
            for file in files:
                if file.name not in kept:
                    self._blobs.remove(file)


def _check_room(change: Change, before: Row | None) -> None:
    if before is None and change.count() >= MAX_PROGRAMS:
        raise ProgramError(
            "store-full",
            f"{MAX_PROGRAMS} programs are installed already",
            remedy="Remove some with `pie remove`.",
        )


def _find_version(rows: Sequence[Row], version: str) -> Row | None:
    return next((row for row in rows if row.version == version), None)


def _newest(rows: Sequence[Row]) -> Row | None:
    return max(rows, key=lambda row: version_order(row.version), default=None)


def _not_found(wanted: Identifier, rows: Sequence[Row], names: set[str]) -> ProgramError:
    if rows:
        versions = ", ".join(sorted((row.version for row in rows), key=version_order))
        remedy = f"Use one of these, or {wanted.name} for the newest."
        return ProgramError(
            "program-not-found", f"{wanted.name} is there with {versions}, not {wanted.version}", remedy=remedy
        )
    near = difflib.get_close_matches(wanted.name, names, n=3)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "Look at the installed ones with `pie list`."
    return ProgramError("program-not-found", f"no program called {str(wanted)!r} is installed", remedy=remedy)
