"""Without a compiler, or with kernels that do not fit, the engine computes with torch and says so once."""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from tests.engine.batches import Held, greedy, row_logits

from pie.engine import kernel_build
from pie.engine.engine import Engine
from pie.engine.kernel_build import build_kernels
from pie.engine.kernels import Kernels
from pie.engine.native_backend import NativeBackend
from pie.engine.weights import load_model
from pie.errors import ModelError
from pie.testing import ModelSizes, write_random_model


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    return write_random_model(tmp_path / "model")


def compiler_that(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / "g++").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_without_a_compiler_torch_computes_and_one_line_says_so(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with caplog.at_level(logging.WARNING):
        engine = Engine(model_dir, num_pages=4, cache_dir=tmp_path / "cache")
    assert engine.backend == "torch"
    assert len(caplog.records) == 1
    assert "no g++" in caplog.text
    assert len(greedy(engine, Held([0]), [1, 2], 3)) == 3


def test_a_build_that_is_stopped_ends_the_compiler_and_leaves_no_litter(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stop = tmp_path / "begun", threading.Event()
    compiler_that(
        tmp_path / "bin", f"echo $$ > {begun}.new; /bin/mv {begun}.new {begun}; exec /bin/sleep 1000", monkeypatch
    )

    def stop_when_begun() -> None:
        while not begun.exists():
            time.sleep(0.01)
        stop.set()

    stopping = threading.Thread(target=stop_when_begun)
    stopping.start()
    with pytest.raises(ModelError, match="stopped"):
        Engine(model_dir, num_pages=4, cache_dir=tmp_path / "cache", stop=stop)
    stopping.join()
    assert not list((tmp_path / "cache").iterdir())
    assert not Path(f"/proc/{int(begun.read_text())}").exists()


def test_weights_are_not_read_when_loading_is_stopped(model_dir: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(ModelError, match="stopped"):
        load_model(model_dir, stop=stop)


@pytest.mark.parametrize("script", ["echo 'kernels.cpp: broken' >&2; exit 1", "exit 0"])
def test_a_failing_build_leaves_torch_and_no_litter(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, script: str
) -> None:
    compiler_that(tmp_path / "bin", script, monkeypatch)
    with caplog.at_level(logging.WARNING):
        engine = Engine(model_dir, num_pages=4, cache_dir=tmp_path / "cache")
    assert engine.backend == "torch"
    assert len(caplog.records) == 1
    assert not list((tmp_path / "cache").iterdir())


def test_the_native_backend_can_be_insisted_on(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="no-native-backend"):
        Engine(model_dir, backend="native", cache_dir=tmp_path / "cache")


def test_a_cache_that_others_may_write_to_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        assert build_kernels(cache) is not None
    assert not list(cache.iterdir())
    assert "written to by others" in caplog.text


def test_kernels_are_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, real = tmp_path / "cache", shutil.which("g++")
    compiler_that(tmp_path / "bin", f'exec {real} "$@"', monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}")
    assert build_kernels(cache) is not None
    built = list(cache.iterdir())
    assert len(built) == 1
    (tmp_path / "bin" / "g++").write_text("#!/bin/sh\nexit 1\n")
    assert build_kernels(cache) is not None
    assert list(cache.iterdir()) == built


def compiler_that_copies(folder: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that gives the kernels of this machine, at once; the file counts how often it was called."""
    library = build_kernels(cache_dir / "kernels")
    assert library is not None
    built = folder / "built.so"
    shutil.copy(library._name, built)
    calls = folder / "calls"
    compiler_that(folder / "bin", f'echo >> {calls}; for out; do :; done; exec /bin/cp {built} "$out"', monkeypatch)
    return calls


def num_calls(calls: Path) -> int:
    return len(calls.read_text().splitlines()) if calls.exists() else 0


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no library at all"])
def test_kept_kernels_that_cannot_be_loaded_are_built_anew(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    cache, calls = tmp_path / "cache", compiler_that_copies(tmp_path, cache_dir, monkeypatch)
    assert build_kernels(cache) is not None
    (library,) = cache.iterdir()
    library.unlink()
    library.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert build_kernels(cache) is not None
    assert num_calls(calls) == 2
    assert "compiled anew" in caplog.text
    assert list(cache.iterdir()) == [library]
    assert build_kernels(cache) is not None
    assert num_calls(calls) == 2


@pytest.mark.parametrize("unusable", ["a file", "below a file", "/proc"])
def test_a_cache_that_cannot_be_written_costs_a_build_at_each_start(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unusable: str
) -> None:
    calls = compiler_that_copies(tmp_path, cache_dir, monkeypatch)
    (tmp_path / "file").write_text("x")
    cache = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "x", "/proc": Path("/proc/self")}[
        unusable
    ]
    with caplog.at_level(logging.WARNING):
        assert build_kernels(cache) is not None
        assert build_kernels(cache) is not None
    assert num_calls(calls) == 2
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "compiled kernels are not kept, so every start compiles them"
    ] * 2


def test_kernels_that_are_built_at_once_by_several_are_kept_once(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, calls = tmp_path / "cache", compiler_that_copies(tmp_path, cache_dir, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: build_kernels(cache), range(4)))
    assert all(library is not None for library in found)
    assert 1 <= num_calls(calls) <= 4
    assert len(list(cache.iterdir())) == 1


def test_processors_that_share_a_cache_have_kernels_of_their_own(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, calls = tmp_path / "cache", compiler_that_copies(tmp_path, cache_dir, monkeypatch)
    assert build_kernels(cache) is not None
    with monkeypatch.context() as patch:
        patch.setattr(kernel_build, "_processor", lambda: "model name: another one")
        assert build_kernels(cache) is not None
    assert build_kernels(cache) is not None
    assert (num_calls(calls), len(list(cache.iterdir()))) == (2, 2)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks for a plain x86-64 build")
@pytest.mark.parametrize("machine", ["x86-64", "x86-64-v3", "x86-64-v4"])  # SSE2, AVX2, AVX-512 without bf16
def test_kernels_for_plainer_processors_compute_the_same(tmp_path: Path, machine: str) -> None:
    library = build_kernels(tmp_path / "cache", machine=machine)
    assert library is not None
    tolerances: dict[Literal["float32", "bfloat16"], float] = {"float32": 1e-5, "bfloat16": 2e-2}
    for dtype, tolerance in tolerances.items():
        path = write_random_model(tmp_path / dtype, "qwen2", dtype=dtype)
        native = Engine(path, backend="native", num_pages=8)
        plain = Engine(path, backend="native", num_pages=8)
        plain._backend = NativeBackend(Kernels(library), load_model(path), num_pages=8, page_size=16, threads=1)
        prompt = list(range(10, 47))
        expected, got = (row_logits(engine, Held([3, 0, 5]), prompt) for engine in (native, plain))
        assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()
        cut = np.concatenate([row_logits(plain, Held([1, 2, 4], start), [prompt[start]]) for start in range(37)])
        np.testing.assert_array_equal(cut, got)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="needs Debian's g++-aarch64-linux-gnu")
@pytest.mark.parametrize("machine", ["armv8-a", "armv8.2-a+bf16"])
def test_kernels_compile_to_neon(tmp_path: Path, machine: str) -> None:
    compiler, assembly = "aarch64-linux-gnu-g++", tmp_path / "kernels.s"
    source = Path(kernel_build.__file__).parent / "native" / "kernels.cpp"
    command = [compiler, *kernel_build.FLAGS, f"-march={machine}", "-S", str(source), "-o", str(assembly)]
    subprocess.run([word for word in command if word != "-shared"], check=True)
    assert re.search(r"\tfmla\tv\d+\.4s", assembly.read_text())


def test_a_model_of_odd_sizes_falls_back_to_torch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_random_model(tmp_path / "odd", sizes=ModelSizes(head_dim=10))
    with caplog.at_level(logging.WARNING):
        engine = Engine(path, num_pages=4)
    assert engine.backend == "torch"
    assert "head_dim is 10" in caplog.text
    assert len(greedy(engine, Held([0]), [1, 2], 3)) == 3
