"""Builds the C++ kernels for this machine at first use, and keeps the result for the next time.

Knows the compiler and the cache folder, nothing of what is compiled. The cache folder must be this user's alone: what
lies in it is loaded into the process.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from pie.engine.stopping import check_stop

__all__ = ["FLAGS", "SOURCES", "build_kernels", "default_cache_dir"]

SOURCES = Path(__file__).parent / "native"
"""Where the C++ is."""

FLAGS = ("-std=c++17", "-O3", "-fopenmp", "-fPIC", "-shared", "-ffp-contract=fast", "-Wno-psabi")
"""Of every build, beside `-march`."""

_COMPILE_TIMEOUT_S = 300
_LOOK_S = 0.1

log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """Where built kernels are kept if nobody says otherwise."""
    return Path.home() / ".cache" / "pie" / "kernels"


def build_kernels(
    cache_dir: Path, *, machine: str = "native", stop: threading.Event | None = None
) -> ctypes.CDLL | None:
    """Load the kernels, compiling them if the cache has none for these sources, flags and processor.

    Args:
        cache_dir: where built kernels are kept; made if missing.
        machine: for which processor, in the words of g++ (`-march`).
        stop: another thread sets it to have the work given up.

    Returns:
        The library, or None where it cannot be built or loaded; the reason is logged in one line.

    Raises:
        ModelError: `stopped`.
    """
    compiler = shutil.which("g++")
    try:
        name = f"kernels-{_key(compiler, machine)}.so"
        kept, refusal = _kept(cache_dir, name)
        if kept is not None:
            return kept
        if compiler is None:
            log.warning("no g++ found: computing with torch, which is several times slower")
            return None
        with ExitStack() as stack:
            if refusal is not None:
                log.warning("compiled kernels are not kept, so every start compiles them: %s", refusal)
                cache_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pie-kernels-")))
            return _compile(compiler, machine, cache_dir / name, stop)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the CPU kernels cannot be built: computing with torch, which is several times slower (%s)", error)
        return None


def _kept(cache_dir: Path, name: str) -> tuple[ctypes.CDLL | None, OSError | None]:
    """The library that is kept, if there is one that can be loaded; and why none can be kept."""
    try:
        _own_folder(cache_dir)
    except OSError as error:
        return None, error
    try:
        # Torch is loaded already (see kernels.py), so both share one OpenMP runtime.
        if (cache_dir / name).exists():
            return ctypes.CDLL(str(cache_dir / name)), None
    except OSError as error:
        log.warning("compiled kernels that cannot be loaded are compiled anew: %s", error)
    try:
        tempfile.TemporaryFile(dir=cache_dir).close()
    except OSError as error:  # a file system that can only be read, or a full one
        return None, error
    return None, None


def _compile(compiler: str, machine: str, library: Path, stop: threading.Event | None) -> ctypes.CDLL:
    """Compile beside the target, and rename what can be loaded: two processes may build at once."""
    handle, name = tempfile.mkstemp(dir=library.parent, prefix=".building-", suffix=".so")
    os.close(handle)
    try:
        command = [compiler, *FLAGS, f"-march={machine}", str(SOURCES / "kernels.cpp"), "-o", name]
        status, said = _run(command, stop)
        if status:
            raise OSError(f"{compiler} failed: {said.splitlines()[0] if said else 'no message'}")
        loaded = ctypes.CDLL(name)
        with Path(name).open("rb") as file:
            os.fsync(file.fileno())  # what stands under its name is whole, even if the machine stops now
        Path(name).replace(library)
        return loaded
    finally:
        Path(name).unlink(missing_ok=True)


def _run(command: Sequence[str], stop: threading.Event | None) -> tuple[int, str]:
    """Run the compiler, and end its children and their files with it however that ends; its status and stderr."""
    with (
        tempfile.TemporaryDirectory(prefix="pie-compiler-", ignore_cleanup_errors=True) as scratch,
        subprocess.Popen(
            command,
            env={**os.environ, "TMPDIR": scratch},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        deadline = time.monotonic() + _COMPILE_TIMEOUT_S
        try:
            while time.monotonic() < deadline:
                check_stop(stop)
                with suppress(subprocess.TimeoutExpired):
                    _, said = process.communicate(timeout=_LOOK_S)
                    return process.returncode, said.strip()
            raise subprocess.TimeoutExpired(command, _COMPILE_TIMEOUT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _key(compiler: str | None, machine: str) -> str:
    digest = hashlib.sha256(" ".join((*FLAGS, machine, compiler or "", platform.machine(), _processor())).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:24]


def _processor() -> str:
    """What decides the meaning of -march=native: the processor's model and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _own_folder(folder: Path) -> None:
    """Make `folder` if it is missing; refuse one that others could write to."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} can be written to by others")
