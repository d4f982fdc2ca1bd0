"""The process that `pie.wasm.compiler` starts: compiles the component on stdin under limits, leaves it in the cache.

Arguments of `main`: the cache's folder, the key, seconds of CPU, bytes of address space. An error is told as JSON on
stdout.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path

from pie.errors import ProgramError
from pie.wasm.cache import CompileCache
from pie.wasm.configuration import compile_component, fingerprint, make_engine

__all__ = ["main"]

MAX_THREADS = 4
GRACE_S = 5
MAX_CAUSE = 500
_PR_SET_PDEATHSIG = 1


def main(folder: str, key: str, cpu_s: str, memory_bytes: str) -> int:
    """Compile; returns the exit status."""
    _limit(int(cpu_s), int(memory_bytes))
    try:
        compiled = compile_component(make_engine(), sys.stdin.buffer.read()).serialize()
    except ProgramError as error:
        cause = " ".join(error.cause.split())[:MAX_CAUSE]  # it may quote the component
        sys.stdout.write(json.dumps({"code": error.code, "cause": cause, "remedy": error.remedy}))
        return 1
    CompileCache(Path(folder), fingerprint()).store(key, bytes(compiled))
    return 0


def _limit(cpu_s: int, memory_bytes: int) -> None:
    """Bound this process, and let it end with the one that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ["RAYON_NUM_THREADS"] = str(MAX_THREADS)  # the compiler's; each takes address space
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + GRACE_S))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
