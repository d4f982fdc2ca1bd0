"""Compiles what the backend asks flashinfer for, on a machine with nvcc: no GPU is needed, and none is used.

`python -m tests.engine.flashinfer_backend.compile_kernels --capability 9.0 --folder DIR` prints one line of JSON for
each module when it is compiled, linked and loaded, and has taken the arguments that the backend gives it, up to the
first that must lie on a GPU. Of several capabilities the first is that of the card. What is in DIR already is kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tests.engine.flashinfer_backend.compiled_module import CompiledModule
from tests.engine.flashinfer_backend.kernel_requests import ask_for_kernels
from tests.engine.flashinfer_backend.real_library import real_library, why_no_library

from pie.engine.flashinfer_backend.compilers import why_not_compiled

__all__ = ["Built", "NotCompiled", "build", "main", "why_no_compiler"]


class NotCompiled(Exception):
    """What the compiler said."""


@dataclass(frozen=True, slots=True)
class Built:
    """A module that was compiled.

    Attributes:
        processor_s: what compiling took; nothing if it was compiled before.
        refused: what each function said of the arguments that the backend gives it, which lie on no GPU.
    """

    module: str
    capabilities: list[str]
    processor_s: float
    size_bytes: int
    refused: dict[str, str]


def why_no_compiler() -> str | None:
    """Why nothing can be compiled here; None if it can."""
    if torch.cuda.is_available():
        return "there is a GPU, whose tests tell more"
    return why_no_library() or why_not_compiled()


def build(spec: Any, asked: CompiledModule, capabilities: list[str]) -> Built:
    """Compile, link, load and call a module.

    What belongs to the driver and to cuBLAS is left open: these may be missing here, and nothing of them is called.

    Raises:
        NotCompiled: it does not compile or link.
        TypeError: a function takes other arguments than the backend gives.
    """
    began = _compiling_s()
    spec.write_ninja()
    objects = re.findall(r"^build (\S+\.o):", spec.ninja_path.read_text(), re.MULTILINE)
    _run("ninja", "-j", os.environ.get("MAX_JOBS", "1"), "-C", spec.build_dir, *objects)
    library = spec.build_dir / f"{spec.name}-open.so"
    cuda = importlib.import_module("flashinfer.jit.cpp_ext").get_cuda_path()
    _run("c++", "-shared", *objects, f"-L{cuda}/lib64", f"-Wl,-rpath,{cuda}/lib64", "-lcudart", "-o", library)
    seconds = _compiling_s() - began
    loaded = importlib.import_module("tvm_ffi").load_module(str(library))
    refused = {name: _refusal(getattr(loaded, name), args) for name, args in asked.calls.items()}
    return Built(spec.name, capabilities, round(seconds, 1), library.stat().st_size, refused)


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise NotCompiled(f"{command[0]} failed:\n{done.stdout}{done.stderr}")


def _compiling_s() -> float:
    """What the compilers have taken of processors so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _refusal(function: Any, args: Sequence[Any]) -> str:
    """What it says of arguments that are right but lie on no device."""
    try:
        function(*args)
    except RuntimeError as error:
        return str(error).strip().splitlines()[-1]
    return "nothing"


def _numbers(capability: str) -> tuple[int, int]:
    major, minor = capability.split(".")
    return int(major), int(minor)


def main() -> None:
    """Compile, and tell of each module when it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--capability", nargs="+", default=["8.0"], help="of the cards, as 8.0 9.0")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", default="", help="a pattern in the names of modules")
    options = parser.parse_args()
    reason = why_no_compiler()
    if reason is not None:
        parser.error(reason)
    with real_library(options.folder, *map(_numbers, options.capability)) as asked:
        ask_for_kernels(options.folder, asked)
        for name, spec in asked.specs.items():
            if re.search(options.only, name):
                print(json.dumps(asdict(build(spec, asked.modules[name], options.capability))), flush=True)


if __name__ == "__main__":
    main()
