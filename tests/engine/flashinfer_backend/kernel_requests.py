"""Which kernels the backend asks flashinfer for: of every shape that it accepts, found by running its steps.

Nothing is listed by hand: widths of heads and forms of pages are those that the backend allows, windows and caps those
of the families of models, and the library itself says what it would compile.
"""

from __future__ import annotations

import typing
from itertools import product
from pathlib import Path

import numpy as np
from tests.engine.adapters import random_peft
from tests.engine.batches import Feed, Held, make_batch
from tests.engine.flashinfer_backend.on_a_processor import on_a_processor
from tests.engine.flashinfer_backend.real_library import Asked
from tests.engine.test_adapters import use, with_adapters

from pie.engine.adapters.adapter_file import read_adapter
from pie.engine.engine import Engine
from pie.engine.flashinfer_backend.availability import HEAD_DIMS
from pie.engine.kv_form import KVChoice
from pie.engine.weights import load_model
from pie.forward import Logits
from pie.testing import Family, ModelSizes, write_random_model

__all__ = ["ask_for_kernels"]

_FAMILIES: tuple[Family, ...] = ("qwen3", "mistral", "gemma2")  # none, windows, caps with and without windows
_SHARED = 512


def ask_for_kernels(folder: Path, asked: Asked) -> None:
    """Run steps of all kinds on models of all shapes, which are written to `folder`."""
    for head_dim, family in product(HEAD_DIMS, _FAMILIES):
        path = write_random_model(folder / f"{family}-{head_dim}", family, sizes=ModelSizes(head_dim=head_dim))
        for kept_as in typing.get_args(KVChoice):
            _run_steps(path, kept_as, asked)


def _run_steps(path: Path, kept_as: KVChoice, asked: Asked) -> None:
    engine = Engine(path, backend="torch", dtype="bfloat16", num_pages=64, threads=1)
    on_a_processor(engine, load_model(path, dtype="bfloat16"), kept_as, asked.library)
    whole, other = Held([*range(33)]), Held([40, 41])

    def step(*feeds: Feed) -> None:
        engine.step(make_batch(feeds, vocab_size=engine.config.vocab_size))

    step(Feed(whole, [7] * _SHARED, probes=[Logits()]))
    step(Feed(whole, [8], probes=[Logits()]))  # captured
    step(Feed(other, [9] * 5, visible=np.tri(5, dtype=np.bool_), probes=[Logits()]))
    forks = [Held([*range(32), 50 + number], _SHARED) for number in range(3)]
    step(*(Feed(fork, [9, 9][: 1 + number % 2], probes=[Logits()]) for number, fork in enumerate(forks)))
    adapter = engine.adapters.put(read_adapter(random_peft(engine.config, 1, rank=4).files, engine.config))
    batch = make_batch([Feed(other, [3], probes=[Logits()])], vocab_size=engine.config.vocab_size)
    engine.step(with_adapters(batch, [use(engine, adapter.number)]))
