"""The tokenizer: bytes in, bytes out, and control tokens only from trusted text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from pie.errors import ModelError, RequestError
from pie.text.tokenizer import Segment, Tokenizer

CONTROLS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>", "</tool_call>"]
texts = st.text() | st.lists(st.sampled_from([*CONTROLS, "<|im_", "end|>", " ", "\n", "é", "word", "🎉"])).map("".join)


def sentencepiece(**changes: Any) -> dict[str, Any]:
    """A tiny tokenizer of the SentencePiece kind with byte fallback."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "h",
        "i",
        "▁h",
        "▁hi",
        "<",
        "/",
        "s",
        ">",
    ]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    specification: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": index,
                "content": content,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for index, content in enumerate(["<unk>", "<s>", "</s>"])
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocab,
            "merges": [["▁", "h"], ["▁h", "i"]],
        },
    }
    return specification | changes


def library(specification: dict[str, Any]) -> Any:
    return tokenizers.Tokenizer.from_str(json.dumps(specification))


@given(text=texts)
def test_decoding_what_was_encoded_gives_the_text_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text, allow_special=False)) == text


@given(text=texts)
def test_untrusted_text_never_becomes_a_control_token(tokenizer: Tokenizer, text: str) -> None:
    added = {token.token_id for token in tokenizer.added_tokens}
    assert added.isdisjoint(tokenizer.encode(text, allow_special=False))


@given(text=texts)
def test_encoding_equals_the_tokenizers_library(tokenizer: Tokenizer, model_directory: Path, text: str) -> None:
    reference = library(json.loads((model_directory / "tokenizer.json").read_text()))
    assert tokenizer.encode(text) == reference.encode(text, add_special_tokens=False).ids


@given(ids=st.lists(st.integers(0, 2047)))
def test_decoding_equals_the_tokenizers_library(tokenizer: Tokenizer, model_directory: Path, ids: list[int]) -> None:
    reference = library(json.loads((model_directory / "tokenizer.json").read_text()))
    ordinary = [token_id for token_id in ids if token_id not in tokenizer.special_ids]
    assert tokenizer.decode(ordinary) == reference.decode(ordinary, skip_special_tokens=False)
    assert tokenizer.decode(ids, keep_special=False) == reference.decode(ids, skip_special_tokens=True)


@given(parts=st.lists(st.tuples(texts, st.booleans())))
def test_only_trusted_segments_write_control_tokens(tokenizer: Tokenizer, parts: list[tuple[str, bool]]) -> None:
    ids = tokenizer.encode_segments([Segment(text, trusted) for text, trusted in parts])
    joined: list[tuple[str, bool]] = []
    for text, trusted in parts:
        if joined and joined[-1][1] == trusted:
            joined[-1] = (joined[-1][0] + text, trusted)
        else:
            joined.append((text, trusted))
    expected = [content for text, trusted in joined if trusted for content in tokenizer.controls_in(text)]
    added = {token.token_id: token.content for token in tokenizer.added_tokens}
    assert [added[token_id] for token_id in ids if token_id in added] == expected
    assert tokenizer.decode(ids) == "".join(text for text, _ in parts)


def test_the_vocabulary_lists_every_token_with_its_bytes(tokenizer: Tokenizer) -> None:
    ids, raw = tokenizer.vocabulary()
    assert ids == list(range(tokenizer.vocab_size))
    assert {bytes([byte]) for byte in range(256)} <= set(raw)
    assert tokenizer.token_bytes(tokenizer.vocab_size) is None


def test_special_tokens_are_the_control_tokens_of_the_model(tokenizer: Tokenizer) -> None:
    ids, raw = tokenizer.special_tokens()
    assert ids == [0, 1, 2, 3, 4, 5, 6]
    assert sorted(token.decode() for token in raw) == sorted(CONTROLS)
    assert tokenizer.stop_ids == {0, 2}
    assert r"\p{L}+" in tokenizer.split_regex()


def test_importing_text_brings_neither_torch_nor_xgrammar_along() -> None:
    code = (
        "import sys, pie.text.tokenizer, pie.text.template, pie.text.decoders, pie.text.grammar, pie.text.matcher\n"
        "print(sorted({'torch', 'xgrammar', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_decoding_an_unknown_token_names_it_and_its_position(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match=r"bad-token: token 99999 at position 1"):
        tokenizer.decode([300, 99999])
    with pytest.raises(RequestError, match=r"token -1"):
        tokenizer.decode([-1])


def test_a_directory_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no-tokenizer"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '{"model": {"type": "BPE"}}', "[" * 5000, '{"version": 3}'])
def test_a_broken_tokenizer_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match="bad-tokenizer") as caught:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(caught.value)


ADDED = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
DAMAGED: dict[str, dict[str, Any]] = {
    "added tokens that are a text": {"added_tokens": "</s>"},
    "an added token without a text": {"added_tokens": [{"id": 3}]},
    "an added token whose id is a text": {"added_tokens": [{"id": "3", "content": "</s>"}]},
    "an id without end": {"added_tokens": [{"id": 10**9, "content": "<far>", **ADDED}]},
    "a pre-tokenizer that is a number": {"pre_tokenizer": 5},
    "a pre-tokenizer of no name": {"pre_tokenizer": {"type": "Wombat"}},
    "no model": {"model": None},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_part_of_a_tokenizer_is_refused(kind: str) -> None:
    with pytest.raises(ModelError, match="bad-tokenizer: ") as caught:
        Tokenizer(sentencepiece(**DAMAGED[kind]))
    assert "\n" not in str(caught.value)


def write_files(folder: Path, *, generation: object = None, config: object = None, settings: object = None) -> None:
    specification = sentencepiece(added_tokens=[])
    (folder / "tokenizer.json").write_text(json.dumps(specification))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": config}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": settings}))


def test_end_tokens_are_those_that_files_name_and_the_vocabulary_has(tmp_path: Path) -> None:
    write_files(tmp_path, generation=[1, 2, 10**12, "3", True, -1], config=7.5, settings={"content": "hi"})
    assert Tokenizer.load(tmp_path).stop_ids == {1, 2}
    write_files(tmp_path, config={"a": 1}, settings="</s>")
    assert Tokenizer.load(tmp_path).stop_ids == {2}
    write_files(tmp_path, generation=-1)
    assert Tokenizer.load(tmp_path).stop_ids == set()


@pytest.mark.parametrize(
    ("named", "told"),
    [({"config": 99_999}, "99999"), ({"generation": [99_999], "settings": "<|im_end|>"}, r"99999, '<\|im_end\|>'")],
)
def test_a_model_none_of_whose_end_tokens_is_there_is_refused(tmp_path: Path, named: Any, told: str) -> None:
    write_files(tmp_path, **named)
    with pytest.raises(ModelError, match=rf"missing-token: .* none of {told}\."):
        Tokenizer.load(tmp_path)


def test_a_tokenizer_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ModelError, match=r"bad-tokenizer: .*WordPiece"):
        Tokenizer(sentencepiece(decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}))


@pytest.mark.parametrize("text", ["hi", " hi", "hi hi", "é", "hi</s>hi", "<s>hi", "<s> hi</s>", "", "hi🎉", "</s"])
def test_sentencepiece_text_is_encoded_and_decoded_as_the_library_does(text: str) -> None:
    tokenizer, reference = Tokenizer(sentencepiece()), library(sentencepiece())
    ids = tokenizer.encode(text)
    assert ids == reference.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == reference.decode(ids, skip_special_tokens=False)


def test_a_vocabulary_that_spells_control_tokens_by_itself_cannot_be_used_to_inject_them() -> None:
    specification = sentencepiece()
    specification["model"] |= {"merges": [["<", "/"], ["</", "s"], ["</s", ">"]]}
    specification["model"]["vocab"] |= {"</": 900, "</s": 901}
    specification["pre_tokenizer"]["prepend_scheme"] = "never"
    tokenizer = Tokenizer(specification)
    ids = tokenizer.encode("</s></s>", allow_special=False)
    assert 2 not in ids
    assert tokenizer.decode(ids) == "</s></s>"
    assert tokenizer.encode("</s>") == [2]


def test_tokens_that_swallow_white_space_do_so_as_in_the_library() -> None:
    specification = sentencepiece()
    specification["added_tokens"][2] |= {"rstrip": True}
    specification["added_tokens"][1] |= {"lstrip": True}
    tokenizer, reference = Tokenizer(specification), library(specification)
    for text in ("hi</s>  hi", "hi  <s>hi", "</s> <s> hi"):
        assert tokenizer.encode(text) == reference.encode(text, add_special_tokens=False).ids
