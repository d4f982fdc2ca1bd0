"""What each token stands for, as raw bytes, read from a `tokenizer.json`.

Owns the two ways in which token strings hide bytes: the byte-level alphabet of GPT-2 and its descendants, and the
SentencePiece way (a visible space, `<0xNN>` for single bytes). It does not know how text is cut into tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pie.errors import ModelError

__all__ = ["AddedToken", "Vocabulary", "parts", "read_vocabulary"]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "\u2581"
_MOST_TOKENS = 2**24  # no model has as many, and a table of 2**32 would take all memory


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in text before any other cutting.

    Attributes:
        token_id: its id.
        content: its text.
        special: True if it steers the model and is no text of its own.
        strip_left, strip_right: it swallows the white space on that side.
        single_word: it counts only where no letter, digit or underscore touches it.
    """

    token_id: int
    content: str
    special: bool
    strip_left: bool = False
    strip_right: bool = False
    single_word: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All tokens of a model.

    Attributes:
        token_bytes: bytes by token id; None where the id is not in use.
        added: the added tokens, by id.
        drops_first_space: decoded text loses one space at its start (SentencePiece adds it when encoding).
    """

    token_bytes: tuple[bytes | None, ...]
    added: Mapping[int, AddedToken]
    drops_first_space: bool


def parts(component: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """The leaves of a pre-tokenizer, decoder or normalizer of a `tokenizer.json`, sequences unfolded."""
    if component is None:
        return
    if component.get("type") != "Sequence":
        yield component
        return
    for key in ("pretokenizers", "decoders", "normalizers"):
        for part in component.get(key) or ():
            yield from parts(part)


def read_vocabulary(specification: Mapping[str, Any], vocab: Mapping[str, int]) -> Vocabulary:
    """Work out the bytes of every token.

    Args:
        specification: the parsed `tokenizer.json`.
        vocab: token string to id, without the added tokens.

    Raises:
        ModelError: `bad-tokenizer` if the token strings follow neither of the two known ways, or an id is out of range.
    """
    added = {token.token_id: token for token in map(_added_token, specification.get("added_tokens") or ())}
    highest = max([*vocab.values(), *added], default=-1)
    if highest >= _MOST_TOKENS:
        raise ModelError(
            "bad-tokenizer",
            f"tokenizer.json has the token id {highest:,}, where {_MOST_TOKENS - 1:,} is the highest",
            remedy="Download the model again.",
        )
    decoders = {part["type"]: part for part in parts(specification.get("decoder"))}
    byte_level = "ByteLevel" in decoders or (
        not decoders and any(part["type"] == "ByteLevel" for part in parts(specification.get("pre_tokenizer")))
    )
    if not byte_level and not decoders.keys() & {"Metaspace", "Replace", "ByteFallback"}:
        raise ModelError(
            "bad-tokenizer",
            f"tokenizer.json has the decoder {', '.join(decoders) or 'none'}, which is not one of ByteLevel, Metaspace",
            remedy="Use a model with a byte-level or SentencePiece tokenizer.",
        )
    table: list[bytes | None] = [None] * (1 + highest)
    alphabet = _byte_level_alphabet() if byte_level else {}
    for text, token_id in vocab.items():
        table[token_id] = _byte_level_bytes(text, alphabet) if byte_level else _sentencepiece_bytes(text)
    for token_id, token in added.items():
        table[token_id] = token.content.encode()
    return Vocabulary(tuple(table), added, not byte_level and _drops_first_space(decoders))


def _added_token(entry: Mapping[str, Any]) -> AddedToken:
    return AddedToken(
        token_id=entry["id"],
        content=entry["content"],
        special=entry.get("special", False),
        strip_left=entry.get("lstrip", False),
        strip_right=entry.get("rstrip", False),
        single_word=entry.get("single_word", False),
    )


def _byte_level_alphabet() -> dict[str, int]:
    """Character to byte: printable Latin-1 characters are themselves, the other bytes follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(0x100) if byte not in set(printable))
    return alphabet | {chr(0x100 + index): byte for index, byte in enumerate(others)}


def _byte_level_bytes(text: str, alphabet: Mapping[str, int]) -> bytes:
    try:
        return bytes([alphabet[character] for character in text])
    except KeyError:  # a token put in by hand, outside of the alphabet
        return text.encode()


def _sentencepiece_bytes(text: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else text.replace(_SPACE_MARK, " ").encode()


def _drops_first_space(decoders: Mapping[str, Mapping[str, Any]]) -> bool:
    if "Metaspace" in decoders:
        return bool(decoders["Metaspace"].get("prepend_scheme", "always") != "never")
    strip = decoders.get("Strip")
    return strip is not None and strip.get("content") == " " and strip.get("start", 0) > 0
