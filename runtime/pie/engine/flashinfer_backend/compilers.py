"""The programs with which flashinfer compiles its kernels when they are first used; told without importing it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess

__all__ = ["why_not_compiled"]

_OLDEST_NVCC = (12, 8)  # knows --compress-mode, which the library gives
_COMPILED = "flashinfer_jit_cache"  # a package of kernels that need not be compiled
_LONGEST_ANSWER_S = 30


def why_not_compiled() -> str | None:
    """Why the library could not compile its kernels here, in one line; None if it can, or if they are compiled."""
    if importlib.util.find_spec(_COMPILED) is not None:
        return None
    nvcc = _find_nvcc()
    found = {"nvcc": nvcc, "ninja": shutil.which("ninja"), "c++": shutil.which(os.environ.get("CXX", "c++"))}
    missing = [name for name, path in found.items() if path is None]
    if nvcc is None or missing:
        return f"programs that compile its kernels are not found: {', '.join(missing)}"
    version = _version_of(nvcc)
    if version is None or version < _OLDEST_NVCC:
        told = "of no known version" if version is None else "{}.{}".format(*version)
        return f"its kernels are compiled with nvcc 12.8 or newer, {nvcc} is {told}"
    return None


def _find_nvcc() -> str | None:
    """Where the library would look for it."""
    cuda = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if cuda:
        return shutil.which(f"{cuda}/bin/nvcc")
    return shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")


def _version_of(nvcc: str) -> tuple[int, int] | None:
    try:
        told = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=_LONGEST_ANSWER_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    release = re.search(r"release (\d+)\.(\d+)", told.stdout)
    return None if release is None else (int(release[1]), int(release[2]))
