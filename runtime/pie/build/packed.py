"""A program of source text as one file: the text that the runner of its language takes, so that nothing is built later.

Such a file starts like a source folder does, and needs neither that folder nor the tools that made it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from pie.build.modules import MAX_BYTES, MAX_MODULES, Language, entry_file, language_of
from pie.build.program import collect_source
from pie.errors import ProgramError

__all__ = ["MAX_PACKED_BYTES", "SUFFIX", "Packed", "pack_program", "read_packed"]

SUFFIX = ".source"
MAX_PACKED_BYTES = 64 << 20
"""Source text and a source map, which is several times as long, escaped as JSON."""

Progress = Callable[[str], None]


class _Python(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `collect_source` gives for Python."""

    entry: str
    files: dict[str, tuple[str, str]]


class _JavaScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `collect_source` gives for JavaScript."""

    entry: str
    bundle: str
    map: str


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A packed program.

    Attributes:
        language: whose runner takes it.
        program: JSON, as `collect_source` gives it.
        format: of this file.
    """

    language: Language
    program: str
    format: Literal["pie-source/1"] = "pie-source/1"


def pack_program(
    path: Path,
    *,
    tools_dir: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> bytes:
    """Pack the source program at `path`; takes and raises what `collect_source` does."""
    language = language_of(entry_file(path))
    text = collect_source(path, tools_dir=tools_dir, progress=progress, stop=stop)
    return msgspec.json.encode(Packed(language, text))


def read_packed(content: bytes) -> Packed:
    """Read what `pack_program` made, or what somebody says it did.

    Raises:
        ProgramError: `bad-packed-program`, `program-too-large`.
    """
    if len(content) > MAX_PACKED_BYTES:
        raise _too_large(f"it has {len(content)} bytes, more than {MAX_PACKED_BYTES}")
    try:
        packed = msgspec.json.decode(content, type=Packed)
        if packed.language == "python":
            _check_python(msgspec.json.decode(packed.program, type=_Python))
        else:
            _check_javascript(msgspec.json.decode(packed.program, type=_JavaScript))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProgramError(
            "bad-packed-program",
            f"this is no packed program: {error}",
            remedy="Pack it again with `pie install` or `pie publish`.",
        ) from None
    return packed


def _check_python(program: _Python) -> None:
    if program.entry not in program.files:
        raise msgspec.ValidationError(f"its entry {program.entry[:100]!r} is none of its modules")
    size = sum(len(text) for _, text in program.files.values())
    if len(program.files) > MAX_MODULES or size > MAX_BYTES:
        raise _too_large(f"it has {len(program.files)} modules of {size} characters")


def _check_javascript(program: _JavaScript) -> None:
    if len(program.bundle) > MAX_BYTES:
        raise _too_large(f"its bundle has {len(program.bundle)} characters, more than {MAX_BYTES}")


def _too_large(cause: str) -> ProgramError:
    return ProgramError(
        "program-too-large",
        f"the packed program is too large: {cause}",
        remedy="Import less, or read data at run time.",
    )
