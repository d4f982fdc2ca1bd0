"""A model's tokenizer: text to token ids and back, and what every id means.

Owns the rule of who may write control tokens. Text is either trusted (a chat template, a program's own `encode`) or
not (the words of a message); in text that is not trusted, `<|im_end|>` is nine ordinary characters and a few more,
never the token. It does not know of chat templates, decoders or grammars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from pie.errors import ModelError, RequestError
from pie.text.ends import missing_ends, named_ends
from pie.text.vocabulary import AddedToken, parts, read_vocabulary

__all__ = ["Segment", "Tokenizer", "read_json"]

# The cut of GPT-2, which the tokenizers library applies where a ByteLevel part asks for "use_regex".
_BYTE_LEVEL_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_END_OF_TEXT = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "</s>",
    "<｜end▁of▁sentence｜>",
    "<|return|>",
    "<|call|>",
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a text that may or may not write control tokens."""

    text: str
    trusted: bool


class Tokenizer:
    """Text to token ids and back. Immutable and cheap to share; made by `Tokenizer.load`."""

    def __init__(self, specification: dict[str, Any], *, ends: Iterable[int | str] = ()) -> None:
        """Build from a parsed `tokenizer.json`.

        Args:
            specification: the parsed file.
            ends: tokens that end a generation, besides the well-known end-of-text tokens of the vocabulary; one that
                it lacks counts for nothing.

        Raises:
            ModelError: `bad-tokenizer` if the tokenizers library refuses it or its tokens are of an unknown kind.
        """
        self._first, self._later = _build(specification)
        vocab = self._first.get_vocab(with_added_tokens=False)
        self._vocabulary = read_vocabulary(specification, vocab)
        self._specification = specification
        self._added_by_content = {token.content: token for token in self._vocabulary.added.values()}
        self._controls = _any_of(self._added_by_content)
        known = {content: token.token_id for content, token in self._added_by_content.items()}
        stops = [known[content] for content in _END_OF_TEXT if content in known]
        stops += [end if isinstance(end, int) else (vocab | known).get(end, -1) for end in ends]
        self.stop_ids = frozenset(token_id for token_id in stops if self.token_bytes(token_id) is not None)

    @classmethod
    def load(cls, directory: Path | str) -> Tokenizer:
        """Read `tokenizer.json` of a model directory, and the stop tokens its other files name.

        Raises:
            ModelError: `no-tokenizer` if there is no such file; `bad-tokenizer` if it cannot be used; `missing-token`
                if the files name end tokens, and it has none.
        """
        folder = Path(directory)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(
                "no-tokenizer",
                f"{folder} has no tokenizer.json",
                remedy="Use a Hugging Face model directory with a fast tokenizer.",
            )
        named = list(named_ends(folder, read_json))
        tokenizer = cls(read_json(path), ends=named)
        if named and not tokenizer.stop_ids:
            raise missing_ends(folder, named)
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """One more than the highest id. The model's logits may be wider; ids from here on mean nothing."""
        return len(self._vocabulary.token_bytes)

    @property
    def added_tokens(self) -> Sequence[AddedToken]:
        """The tokens that stand outside of the ordinary text, special or not, by id."""
        return sorted(self._vocabulary.added.values(), key=lambda token: token.token_id)

    @property
    def drops_first_space(self) -> bool:
        """True if `decode` removes one space at the start of a text."""
        return self._vocabulary.drops_first_space

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the special tokens."""
        return frozenset(token.token_id for token in self.added_tokens if token.special)

    def token_id(self, content: str) -> int | None:
        """The id of an added token, or None if there is none with this text."""
        token = self._added_by_content.get(content)
        return None if token is None else token.token_id

    def token_bytes(self, token_id: int) -> bytes | None:
        """The raw bytes of a token, or None if the vocabulary has no such id."""
        table = self._vocabulary.token_bytes
        return table[token_id] if 0 <= token_id < len(table) else None

    def controls_in(self, text: str) -> list[str]:
        """The added tokens that the text spells, in order; what `encode` would take for control tokens."""
        return self._controls.findall(text)

    def vocabulary(self) -> tuple[list[int], list[bytes]]:
        """Every id in use, ascending, and its raw bytes."""
        known = [(token_id, raw) for token_id, raw in enumerate(self._vocabulary.token_bytes) if raw is not None]
        return [token_id for token_id, _ in known], [raw for _, raw in known]

    def special_tokens(self) -> tuple[list[int], list[bytes]]:
        """The special tokens: ids, ascending, and their raw bytes."""
        special = [token for token in self.added_tokens if token.special]
        return [token.token_id for token in special], [token.content.encode() for token in special]

    def split_regex(self) -> str:
        """The regular expression that cuts text before merging; empty if the model has none."""
        for part in parts(self._specification.get("pre_tokenizer")):
            if part["type"] == "Split" and "Regex" in part["pattern"]:
                return str(part["pattern"]["Regex"])
            if part["type"] == "ByteLevel" and part.get("use_regex", True):
                return _BYTE_LEVEL_SPLIT
        return ""

    def encode(self, text: str, *, allow_special: bool = True) -> list[int]:
        """Cut a text into tokens; nothing is put before or after it.

        Args:
            text: any text.
            allow_special: recognise control tokens by their text, which is what a program's own `encode` means. Pass
                False for words that come from somewhere else.
        """
        return self.encode_segments([Segment(text, allow_special)])

    def encode_segments(self, segments: Iterable[Segment]) -> list[int]:
        """Cut one text made of several segments; only trusted segments write control tokens.

        Ordinary text is merged across the seams, so the result is that of the whole text wherever no untrusted
        segment spells a control token.
        """
        ids: list[int] = []
        text = ""
        strip_left = False
        for run, control in self._runs(segments):
            text = run.lstrip() if strip_left else run
            if control is not None and control.strip_left:
                text = text.rstrip()
            ids += self._encode_plain(text, first=not ids)
            if control is not None:
                ids.append(control.token_id)
            strip_left = control is not None and control.strip_right
        return ids

    def decode(self, token_ids: Sequence[int], *, keep_special: bool = True) -> str:
        """The text of the tokens; bytes that are not UTF-8 become U+FFFD.

        Args:
            token_ids: ids of this vocabulary.
            keep_special: False leaves special tokens out.

        Raises:
            RequestError: `bad-token` naming the first id that the vocabulary does not have.
        """
        raw = bytearray()
        for position, token_id in enumerate(token_ids):
            piece = self.token_bytes(token_id)
            if piece is None:
                raise RequestError(
                    "bad-token",
                    f"token {token_id} at position {position} is not in the vocabulary of {self.vocab_size} tokens",
                    remedy="Decode only tokens that this model's tokenizer or sampler made.",
                )
            if keep_special or token_id not in self.special_ids:
                raw += piece
        start = 1 if self.drops_first_space and raw.startswith(b" ") else 0
        return raw[start:].decode("utf-8", errors="replace")

    def _runs(self, segments: Iterable[Segment]) -> Iterator[tuple[str, AddedToken | None]]:
        """Runs of ordinary text, each with the control token that ends it; None ends the last."""
        run = ""
        for text, trusted in _joined(segments):
            if not trusted:
                run += text
                continue
            start = 0
            for match in self._controls.finditer(text):
                control = self._added_by_content[match[0]]
                if control.single_word and _touches_word(text, match):
                    continue
                yield run + text[start : match.start()], control
                run, start = "", match.end()
            run += text[start:]
        yield run, None

    def _encode_plain(self, text: str, *, first: bool) -> list[int]:
        """Encode text in which nothing is a control token."""
        if not text:
            return []
        encoder = self._first if first else self._later
        ids: list[int] = encoder.encode(text, add_special_tokens=False).ids
        if self._vocabulary.added.keys().isdisjoint(ids):
            return ids
        # The model's own pieces can spell a control token (Unigram, `ignore_merges`): cut through every spelling,
        # and where a normalizer made the spelling, go character by character.
        cuts = [match.start() + 1 for match in self._controls.finditer(text)] or list(range(1, len(text)))
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        encoded = (encoder.encode(piece, add_special_tokens=False).ids for piece in pieces)
        return [token_id for ids in encoded for token_id in ids if token_id not in self._vocabulary.added]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model directory.

    Raises:
        ModelError: `bad-tokenizer` if the file is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            "bad-tokenizer", f"{path} cannot be read: {error.strerror}", remedy="Check the rights of the file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError("bad-tokenizer", f"{path} is not JSON: {error}", remedy="Download the model again.") from error
    if not isinstance(value, dict):
        raise ModelError("bad-tokenizer", f"{path} is not a JSON object", remedy="Download the model again.")
    return value


def _build(specification: dict[str, Any]) -> tuple[tokenizers.Tokenizer, tokenizers.Tokenizer]:
    """The encoders of the first and of later runs of ordinary text; both see no control token."""
    added = [{**token, "special": True} for token in _added_entries(specification)]
    plain = {**specification, "added_tokens": added, "post_processor": None, "truncation": None, "padding": None}
    first = _encoder(plain)
    pre_tokenizer = specification.get("pre_tokenizer")
    if not any(part.get("prepend_scheme") == "first" for part in parts(pre_tokenizer)):
        return first, first
    later = json.loads(json.dumps(pre_tokenizer).replace('"prepend_scheme": "first"', '"prepend_scheme": "never"'))
    return first, _encoder({**plain, "pre_tokenizer": later})


def _added_entries(specification: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of `added_tokens`, which are looked into before the library checks them."""
    entries = specification.get("added_tokens") or []
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, dict) or type(entry.get("id")) is not int or not isinstance(entry.get("content"), str):
            raise ModelError(
                "bad-tokenizer",
                f"tokenizer.json has {str(entry)[:80]!r} among its `added_tokens`, where an `id` and `content` belong",
                remedy="Download the model again.",
            )
    return list(entries)


def _encoder(specification: dict[str, Any]) -> tokenizers.Tokenizer:
    try:
        encoder = tokenizers.Tokenizer.from_str(json.dumps(specification))
    except Exception as error:  # the library raises plain Exception
        reason = str(error).partition("\n")[0]
        raise ModelError(
            "bad-tokenizer", f"tokenizer.json cannot be read: {reason}", remedy="Download the model again."
        ) from error
    encoder.encode_special_tokens = True
    return encoder


def _joined(segments: Iterable[Segment]) -> Iterator[tuple[str, bool]]:
    """Neighbours of the same trust as one, so that a control token may span two trusted segments."""
    text, trusted = "", False
    for segment in segments:
        if segment.trusted != trusted:
            yield text, trusted
            text, trusted = "", segment.trusted
        text += segment.text
    yield text, trusted


def _any_of(contents: Iterable[str]) -> re.Pattern[str]:
    """Matches the longest of the contents at the leftmost place; nothing if there are none."""
    longest_first = sorted((content for content in contents if content), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _touches_word(text: str, match: re.Match[str]) -> bool:
    before, after = text[: match.start()][-1:], text[match.end() :][:1]
    return bool(re.match(r"\w", before) or re.match(r"\w", after))
