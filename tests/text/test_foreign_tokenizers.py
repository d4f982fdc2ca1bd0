"""Tokenizers as other architectures have them: tokens and text as in the library, with or without a template."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer

OLMO_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+"
CORPUS = [
    "The cat sat on the mat in 1984, didn't it?",
    "Übergrößen für 12345 naïve cafés",
    "def f(x):\n    return x + 1\n",
]
Cut = Callable[[tokenizers.Tokenizer], object]


def gpt2(made: tokenizers.Tokenizer) -> None:
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)


def opt(made: tokenizers.Tokenizer) -> None:
    gpt2(made)
    end = ("<|endoftext|>", 0)
    made.post_processor = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[end])


def gpt_neox(made: tokenizers.Tokenizer) -> None:
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)


def starcoder2(made: tokenizers.Tokenizer) -> None:
    digits = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def cohere(made: tokenizers.Tokenizer) -> None:
    starcoder2(made)
    made.normalizer = normalizers.NFC()


def olmo2(made: tokenizers.Tokenizer) -> None:
    split = pre_tokenizers.Split(Regex(OLMO_SPLIT), "isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])


FORMS: Mapping[str, Cut] = {form.__name__: form for form in (gpt2, opt, gpt_neox, starcoder2, cohere, olmo2)}


def byte_level(form: str) -> str:
    """The tokenizer.json of a byte-level BPE that was trained on a few lines."""
    made = tokenizers.Tokenizer(models.BPE())
    FORMS[form](made)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(CORPUS * 5, trainer)
    text: str = made.to_str()
    return text


def mixtral() -> str:
    """That of a SentencePiece BPE with byte fallback, whose normalizer puts the marks of words."""
    letters = sorted(set("".join(CORPUS)) - set(" \n"))
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *letters,
        "th",
        "▁t",
        "he",
        "at",
    ]
    merges = [("t", "h"), ("▁", "t"), ("h", "e"), ("a", "t")]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    made = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    text: str = made.to_str()
    return text


@pytest.fixture(scope="module", params=[*FORMS, "mixtral"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but the tokenizer and who ends a text, as base models have it."""
    path = tmp_path_factory.mktemp("tokenizer")
    (path / "tokenizer.json").write_text(mixtral() if request.param == "mixtral" else byte_level(request.param))
    end = {"eos_token": "</s>" if request.param == "mixtral" else "<|endoftext|>"}
    (path / "tokenizer_config.json").write_text(json.dumps(end))
    return path


@given(text=st.text() | st.sampled_from(CORPUS))
def test_text_is_cut_and_put_together_as_in_the_library(directory: Path, text: str) -> None:
    library = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    ours = Tokenizer.load(directory)
    expected = library.encode(text, add_special_tokens=False).ids
    assert ours.encode(text) == expected
    assert ours.decode(expected) == library.decode(expected, skip_special_tokens=False)


def test_a_model_without_a_template_of_chats_has_turns_all_the_same(directory: Path) -> None:
    tokenizer = Tokenizer.load(directory)
    template = ChatTemplate.load(directory, tokenizer)
    assert tokenizer.stop_ids == {0 if tokenizer.token_id("<|endoftext|>") == 0 else 2}
    assert template.stop_tokens()
    assert "cat" in tokenizer.decode([*template.first_user("the cat"), *template.cue()])
