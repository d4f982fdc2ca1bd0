"""A registry: programs that others may install, as plain files in a folder that any static web server can offer.

    index.json                  names and newest versions, for people and suggestions
    api/v1/inferlets/<name>     the releases of one program
    blobs/<digest><suffix>      programs and manifests, by the BLAKE3 digest of what they hold

`docs/registry.md` tells the format. A release that was published never changes.
"""

from __future__ import annotations

import difflib
import re
from typing import Literal, TypeVar

import msgspec

from pie.errors import ProgramError
from pie.process.blobs import digest_of
from pie.process.identifier import Identifier, is_identifier, version_order
from pie.process.registry_files import RegistryFiles, unusable
from pie.process.release import MAX_MANIFEST_BYTES, MAX_PROGRAM_BYTES, Release

__all__ = [
    "INDEX",
    "MANIFEST_SUFFIX",
    "Listing",
    "Names",
    "Published",
    "blob_path",
    "decode",
    "fetch_release",
    "listing_path",
]

INDEX = "index.json"
MANIFEST_SUFFIX = ".toml"
MAX_LISTING_BYTES = 4 << 20
LISTING_TIMEOUT_S = 60.0
BLOB_TIMEOUT_S = 1800.0
DIGEST = re.compile(r"[0-9a-f]{64}")
T = TypeVar("T")


class Published(msgspec.Struct, frozen=True):
    """One release in a listing; unknown entries are left to later versions.

    Attributes:
        num: its version, by the name that clients of Pie 0.4 read.
        program, manifest: BLAKE3 digests, hex.
        suffix: of the program's blob.
        size_bytes: of the program.
    """

    num: str
    program: str
    manifest: str
    suffix: Literal[".wasm", ".source"]
    size_bytes: int


class Listing(msgspec.Struct, frozen=True):
    """The releases of one program, the newest first.

    Attributes:
        name: of the program.
        latest_version: the newest.
        versions: all.
        description: of the newest.
    """

    name: str
    latest_version: str
    versions: list[Published]
    description: str = ""


class Names(msgspec.Struct, frozen=True):
    """All programs of a registry.

    Attributes:
        programs: newest version by name.
        format: of the registry.
    """

    programs: dict[str, str] = {}
    format: Literal["pie-registry/1"] = "pie-registry/1"


def listing_path(name: str) -> str:
    """Where the releases of a program are listed."""
    return f"api/v1/inferlets/{name}"


def blob_path(digest: str, suffix: str) -> str:
    """Where a blob lies."""
    return f"blobs/{digest}{suffix}"


async def fetch_release(files: RegistryFiles, wanted: Identifier) -> Release:
    """Get a program, or its newest version, and check it against its digests and its name.

    Raises:
        ProgramError: `program-not-found` with the nearest names, `registry-unusable`, or as `Release.of`.
    """
    listing = await _read_listing(files, wanted.name)
    if listing is None:
        raise await _not_found(files, wanted)
    published = {one.num: one for one in listing.versions if is_identifier(f"{wanted.name}@{one.num}")}
    version = wanted.version or max(published, key=version_order, default="")
    if version not in published:
        raise ProgramError(
            "program-not-found",
            f"the registry has {wanted.name} with {', '.join(sorted(published, key=version_order))}, not {version}",
            remedy=f"Use one of these, or {wanted.name} for the newest.",
        )
    one = published[version]
    manifest = await _read_blob(files, one.manifest, MANIFEST_SUFFIX, MAX_MANIFEST_BYTES)
    content = await _read_blob(files, one.program, one.suffix, MAX_PROGRAM_BYTES)
    try:
        release = Release.of(content, manifest.decode())
    except UnicodeDecodeError as error:
        raise unusable(f"the manifest of {wanted.name}@{version} is not text: {error}") from None
    if (release.name, release.version) != (wanted.name, version):
        raise unusable(f"what it has as {wanted.name}@{version} is {release.name}@{release.version}")
    return release


async def _read_listing(files: RegistryFiles, name: str) -> Listing | None:
    path = listing_path(name)
    content = await files.read(path, max_bytes=MAX_LISTING_BYTES, timeout_s=LISTING_TIMEOUT_S)
    return None if content is None else decode(content, Listing, path)


async def _not_found(files: RegistryFiles, wanted: Identifier) -> ProgramError:
    content = await files.read(INDEX, max_bytes=MAX_LISTING_BYTES, timeout_s=LISTING_TIMEOUT_S)
    if content is None:
        return unusable(f"it has no {INDEX}")
    near = difflib.get_close_matches(wanted.name, decode(content, Names, INDEX).programs, n=3)
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"Its {INDEX} names what it has."
    return ProgramError("program-not-found", f"the registry has no program called {wanted.name!r}", remedy=remedy)


async def _read_blob(files: RegistryFiles, digest: str, suffix: str, max_bytes: int) -> bytes:
    if not DIGEST.fullmatch(digest):
        raise unusable(f"{digest[:80]!r} is no digest")
    path = blob_path(digest, suffix)
    content = await files.read(path, max_bytes=max_bytes, timeout_s=BLOB_TIMEOUT_S)
    if content is None:
        raise unusable(f"it has no {path}")
    if digest_of(content) != digest:
        raise unusable(f"{path} does not hold what its name says")
    return content


def decode(content: bytes, kind: type[T], path: str) -> T:
    """Read a JSON file of a registry.

    Raises:
        ProgramError: `registry-unusable`.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise unusable(f"{path} cannot be read: {error}") from None
