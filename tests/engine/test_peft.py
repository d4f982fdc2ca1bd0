"""Adapters of a batch compute what transformers and peft compute, each from its own directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import PeftModel
from tests.engine.adapters import RandomPeft, random_peft
from tests.engine.batches import Feed, Held, make_batch
from tests.engine.conftest import MakeEngine

from pie.engine.adapters.adapter_file import read_adapter
from pie.engine.adapters.weights import MODULES
from pie.engine.engine import Engine
from pie.forward import AdapterUse, Logits
from pie.testing import Family

PROMPT = [7, 280, 33, 91, 12, 12, 256, 3, 78, 199, 4, 61, 5, 118, 300, 22, 9, 140, 18]
NUM_ADAPTERS = 12


def adapters(engine: Engine) -> list[RandomPeft]:
    """Of different ranks and scales, on different modules."""
    kinds: list[dict[str, Any]] = [
        {},
        {"rank": 8, "use_rslora": True},
        {"modules": MODULES[:2], "rank": 2},
        {"modules": MODULES[3:], "lora_alpha": 3},
    ]
    return [random_peft(engine.config, seed, **kinds[seed % len(kinds)]) for seed in range(NUM_ADAPTERS)]


def by_peft(model_dir: Path, folders: Sequence[Path], prompts: Sequence[Sequence[int]]) -> list[np.ndarray[Any, Any]]:
    """Logits of each prompt under the adapter in the folder of its number; the last prompt has none."""
    model = PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(model_dir), folders[0], adapter_name="0"
    ).eval()
    for number, folder in enumerate(folders):
        if number:
            model.load_adapter(folder, adapter_name=str(number))
    logits = []
    with torch.inference_mode():
        for number, prompt in enumerate(prompts[:-1]):
            model.set_adapter(str(number))
            logits.append(model(torch.tensor([prompt])).logits[0].numpy())
        with model.disable_adapter():
            logits.append(model(torch.tensor([prompts[-1]])).logits[0].numpy())
    return logits


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks transformers in the old way
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_many_adapters_in_one_batch_give_the_logits_of_transformers_and_peft(
    make_engine: MakeEngine, models: Callable[[Family], Path], tmp_path: Path, family: Family
) -> None:
    engine = make_engine(family)
    made = adapters(engine)
    folders = [adapter.write(tmp_path / str(number)) for number, adapter in enumerate(made)]
    prompts = [PROMPT[number % 5 :] for number in range(NUM_ADAPTERS + 1)]
    feeds = [
        Feed(Held([2 * i, 2 * i + 1]), prompt, probes=(Logits(),), probe_rows="all") for i, prompt in enumerate(prompts)
    ]
    batch = make_batch(feeds, vocab_size=320)
    infos = [engine.adapters.put(read_adapter(adapter.files, engine.config)) for adapter in made]
    uses = tuple(AdapterUse(info.number, info.version) for info in infos)
    numbers = np.array([*range(NUM_ADAPTERS), -1], np.int32)
    batch = replace(batch, adapters=uses, adapter_of_row=numbers[batch.sequence_of_row])

    got = np.stack([np.asarray(value, np.float32) for value in engine.step(batch).probes])

    expected = np.concatenate(by_peft(models(family), folders, prompts))
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    last_rows = np.cumsum([len(prompt) for prompt in prompts]) - 1
    assert len({got[row].tobytes() for row in last_rows}) == NUM_ADAPTERS + 1
