"""Which files are a program: the one that holds `main`, and for Python all its modules."""

from __future__ import annotations

import ast
import os
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pie.errors import ProgramError

__all__ = [
    "LANGUAGE_NAMES",
    "MAX_BYTES",
    "MAX_MODULES",
    "Language",
    "Module",
    "collect_modules",
    "defines",
    "entry_file",
    "language_of",
]

Language = Literal["python", "javascript"]
LANGUAGE_NAMES: dict[Language, str] = {"python": "Python", "javascript": "JavaScript"}
JAVASCRIPT_SUFFIXES = frozenset({".ts", ".js", ".mts", ".mjs"})
# In this order: where a folder has a program in both languages, it is the Python one that a path to the folder means.
ENTRIES = ("main.py", "python/main.py", "main.ts", "main.js", "javascript/main.ts", "javascript/main.js")

MAX_BYTES = 4 << 20
MAX_MODULES = 1000


@dataclass(frozen=True, slots=True)
class Module:
    """One module of a program.

    Attributes:
        name: as it is imported, such as `package.module`.
        file: path from the program's folder, as tracebacks show it.
        text: the source.
    """

    name: str
    file: str
    text: str


def entry_file(path: Path) -> Path:
    """The file that holds `main`: `path` itself, or the first of `ENTRIES` that the folder has.

    Raises:
        ProgramError: `program-not-found`, or `no-main` if a folder has none of them.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise ProgramError(
            "program-not-found",
            f"there is no {path}",
            remedy="Give a main.py, a main.ts, a program folder or a .wasm file.",
        )
    for name in ENTRIES:
        if (path / name).is_file():
            return path / name
    raise ProgramError(
        "no-main",
        f"{path} has no main.py, main.ts or main.js",
        remedy="Put a function `main` into a main.py or main.ts there.",
    )


def language_of(entry: Path) -> Language:
    """The language of a source file; what has no other known suffix is Python."""
    return "javascript" if entry.suffix in JAVASCRIPT_SUFFIXES else "python"


def collect_modules(path: Path) -> list[Module]:
    """The modules of the Python program at `path`, the one that holds `main` first.

    Of a folder all modules are taken. Of a single file only those that it imports, directly or not: beside it there
    may be anything.

    Raises:
        ProgramError: `program-not-found`, `no-main`, `bad-text` or `program-too-large`.
    """
    entry = entry_file(path)
    root = entry.parent
    others = _below(root) if path.is_dir() else _imported(entry)
    modules = [_read(entry, root)]
    size = len(modules[0].text)
    for file in others:
        if file == entry:
            continue
        modules.append(_read(file, root))
        size += len(modules[-1].text)
        if size > MAX_BYTES or len(modules) > MAX_MODULES:
            raise ProgramError(
                "program-too-large",
                f"{path} has more than {MAX_MODULES} modules or {MAX_BYTES >> 20} MiB of Python",
                remedy="Give the main.py instead of the folder, or move what the program does not need.",
            )
    return modules


def defines(text: str, name: str) -> bool:
    """Whether Python source has a function, an assignment or an import of this name at its top level.

    Raises:
        SyntaxError: it cannot be parsed.
    """
    return any(_binds(node, name) for node in ast.parse(text).body)


def _binds(node: ast.stmt, name: str) -> bool:
    match node:
        case ast.AsyncFunctionDef() | ast.FunctionDef():
            return node.name == name
        case ast.Assign():
            return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        case ast.ImportFrom() | ast.Import():
            return any((alias.asname or alias.name) == name for alias in node.names)
    return False


def _read(file: Path, root: Path) -> Module:
    relative = file.relative_to(root)
    parts = relative.with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    if file.stat().st_size > MAX_BYTES:
        raise ProgramError(
            "program-too-large",
            f"{file} is larger than {MAX_BYTES >> 20} MiB",
            remedy="Split it, or read data at run time.",
        )
    try:
        with tokenize.open(file) as stream:  # honours the encoding that the file declares
            text = stream.read()
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ProgramError("bad-text", f"{file} is not text: {error}", remedy="Save it as UTF-8.") from None
    name = ".".join(parts) if all(part.isidentifier() for part in parts) else "main"
    return Module(name, relative.as_posix(), text)


def _below(root: Path) -> Iterator[Path]:
    """All importable modules below `root`, in a fixed order; links to folders are not followed."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if _may_hold_modules(Path(folder, name)))
        for name in sorted(files):
            file = Path(folder, name)
            if file.suffix == ".py" and file.stem.isidentifier() and file != root / "__init__.py":
                yield file


def _may_hold_modules(folder: Path) -> bool:
    return folder.name.isidentifier() and folder.name != "__pycache__" and not (folder / "pyvenv.cfg").exists()


def _imported(entry: Path) -> Iterator[Path]:
    """The modules beside `entry` that it imports, directly or not."""
    root = entry.parent
    seen = {entry}
    queue = [entry]
    while queue:
        file = queue.pop(0)
        for name in _imports(file, root):
            for found in _files(root, name):
                if found not in seen:
                    seen.add(found)
                    queue.append(found)
                    yield found


def _imports(file: Path, root: Path) -> Iterator[str]:
    """Names that `file` imports; `from a import b` gives both `a` and `a.b`, since b may be a module."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # the interpreter will tell, with file and line
    package = file.parent.relative_to(root).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield module
            yield from (f"{module}.{alias.name}" if module else alias.name for alias in node.names)


def _files(root: Path, name: str) -> Iterable[Path]:
    """The files that importing `name` would read: the module, and the packages it is in."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return []
    ends = [root.joinpath(*parts[: length + 1]) for length in range(len(parts))]
    candidates = [end / "__init__.py" for end in ends] + [ends[-1].with_suffix(".py")]
    return [candidate for candidate in candidates if candidate.is_file()]
