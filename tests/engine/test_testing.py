"""The shipped random models are what tools for Hugging Face directories expect."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from pie.testing import Family, ModelSizes, write_random_model

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "héllo ✓\n\tworld"}]


def test_the_tokenizer_encodes_any_text_and_gives_it_back(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(write_random_model(tmp_path) / "tokenizer.json"))
    text = "".join(map(chr, range(1, 0x500))) + "漢字🙂"
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert len(ids) == len(text.encode())
    assert tokenizer.get_vocab_size() == 263


def test_the_chat_template_marks_turns_and_cues_the_assistant(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(write_random_model(tmp_path))
    text = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, tokenize=False)
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert text.endswith("<|im_start|>assistant\n")
    assert tokenizer.eos_token_id == 2


@pytest.mark.parametrize("family", get_args(Family))
def test_the_same_arguments_write_the_same_bytes(tmp_path: Path, family: Family) -> None:
    one, two = (write_random_model(tmp_path / name, family, seed=4) for name in "ab")
    other = write_random_model(tmp_path / "c", family, seed=5)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_sizes_are_those_asked_for(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    sizes = ModelSizes(hidden_size=32, num_hidden_layers=1, vocab_size=300)
    tensors = load_file(write_random_model(tmp_path, sizes=sizes) / "model.safetensors")
    assert tensors["model.embed_tokens.weight"].shape == (300, 32)
    assert sum(name.endswith("q_proj.weight") for name in tensors) == 1
