"""Adds releases to a registry's folder. Files that nothing refers to yet come first, so readers never miss one."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from pie.build.lock import only_one
from pie.durable import NEW, make_folder, replace_file
from pie.errors import ProgramError
from pie.process.blobs import Blobs, digest_of
from pie.process.identifier import version_order
from pie.process.registry import (
    INDEX,
    MANIFEST_SUFFIX,
    Listing,
    Names,
    Published,
    decode,
    listing_path,
)
from pie.process.release import Release

__all__ = ["publish"]

LOCK = ".lock"
T = TypeVar("T")
READABLE = 0o644
"""A web server, which may be another user, offers these files."""


def publish(release: Release, folder: Path) -> bool:
    """Add a release to the registry in `folder`, which is made if it is not there.

    Several processes may publish at once. Whoever is killed leaves the registry as it was, or with the release.

    Returns:
        Whether it is new; False if the same release was there.

    Raises:
        ProgramError: `already-published` if another program has its name and version; `registry-unusable`;
            `not-published` if the folder cannot be written.
    """
    try:
        make_folder(folder, mode=0o755)
        with only_one(folder / LOCK):
            for left in folder.rglob(f"{NEW}*"):  # by one that was killed
                left.unlink()
            return _add(release, folder)
    except OSError as error:
        raise ProgramError(
            "not-published",
            f"{error.filename or folder} cannot be written: {error.strerror}",
            remedy="Make room on the disk and check the rights of the folder.",
        ) from error


def _add(release: Release, folder: Path) -> bool:
    path = folder / listing_path(release.name)
    names = _read(folder / INDEX, Names, Names())
    listing = _read(path, Listing, Listing(release.name, release.version, []))
    new = Published(
        release.version,
        digest_of(release.content),
        digest_of(release.manifest_text.encode()),
        ".wasm" if release.is_component else ".source",
        len(release.content),
    )
    before = next((one for one in listing.versions if one.num == release.version), None)
    if before not in (None, new):
        raise ProgramError(
            "already-published",
            f"{release.name}@{release.version} is in {folder}, and is another program",
            remedy="Raise the version in Pie.toml.",
        )
    blobs = Blobs(folder / "blobs", mode=READABLE)
    blobs.write(release.content, release.suffix)
    blobs.write(release.manifest_text.encode(), MANIFEST_SUFFIX)
    others = [one for one in listing.versions if one.num != release.version]
    versions = sorted([*others, new], key=lambda one: version_order(one.num), reverse=True)
    latest = versions[0].num
    text = release.manifest.package.description if latest == release.version else listing.description
    _write(path, Listing(release.name, latest, versions, text))
    _write(folder / INDEX, Names(dict(sorted({**names.programs, release.name: latest}.items()))))
    return before is None


def _read(path: Path, kind: type[T], default: T) -> T:
    return decode(path.read_bytes(), kind, str(path)) if path.is_file() else default


def _write(path: Path, value: msgspec.Struct) -> None:
    make_folder(path.parent, mode=0o755)
    replace_file(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n", mode=READABLE)
