"""Compiles a component in a process of its own, which can be given limits and killed.

Compiling hostile code may take any time and memory, and cannot be interrupted from within.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from pie.errors import ProgramError

__all__ = ["CompileLimits", "compile_in_child"]

_SOURCES = Path(__file__).parents[2]  # where this very `pie` was imported from, however that came about
_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pie.wasm.compile_child import main
sys.exit(main(*sys.argv[2:]))
"""


@dataclass(frozen=True, slots=True)
class CompileLimits:
    """What compiling one component may take.

    Attributes:
        cpu_s: CPU of all threads together, seconds.
        memory_bytes: address space of the process that compiles.
        wall_s: from its start to its end, seconds.
    """

    cpu_s: int
    memory_bytes: int
    wall_s: float = 600.0

    @classmethod
    def for_size(cls, size_bytes: int) -> CompileLimits:
        """Several times what components of that size take: a runner of 30 MB takes 13 s of CPU and 700 MB."""
        size_mib = size_bytes / (1 << 20)
        return cls(cpu_s=10 + int(2 * size_mib), memory_bytes=(1 << 30) + int(100 * size_mib) * (1 << 20))


async def compile_in_child(binary: bytes, folder: Path, key: str, limits: CompileLimits) -> None:
    """Bring a component into the cache; cancelling kills the child, and so does the end of this process.

    Raises:
        ProgramError: `not-a-component`; `compile-timeout`; `compile-limit`: it took more memory than it may, or crashed
            the compiler; `compile-failed`: the process that compiles cannot run.
    """
    child = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-c",
            _CHILD,
            str(_SOURCES),
            str(folder),
            key,
            str(limits.cpu_s),
            str(limits.memory_bytes),
        ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limits.wall_s):
            output, complaint = await child.communicate(binary)
    except BaseException as error:
        child.kill()
        await child.wait()
        if isinstance(error, TimeoutError):
            raise _timeout(f"{limits.wall_s:g} s") from None
        raise
    if child.returncode and output:
        told = json.loads(output)
        raise ProgramError(told["code"], told["cause"], remedy=told["remedy"])
    if child.returncode:
        raise _silent_end(child.returncode, complaint.decode("utf-8", "replace"), limits)


def _silent_end(status: int, complaint: str, limits: CompileLimits) -> ProgramError:
    """The error of a child that did not live to tell: killed at a limit, crashed there, or never started."""
    last_line = (complaint.strip().splitlines() or ["no message"])[-1]
    if status == -signal.SIGXCPU:
        return _timeout(f"{limits.cpu_s} s of CPU")
    if status < 0 or last_line.startswith("MemoryError"):
        return ProgramError(
            "compile-limit",
            f"compiling the program takes more than {limits.memory_bytes} bytes of memory, or crashes the compiler",
            remedy="Make the program smaller.",
        )
    return ProgramError(
        "compile-failed",
        f"the process that compiles programs ended with status {status}: {last_line}",
        remedy="Check the installation with `python -m pie --version`.",
    )


def _timeout(limit: str) -> ProgramError:
    return ProgramError(
        "compile-timeout", f"compiling the program takes more than {limit}", remedy="Make the program smaller."
    )
