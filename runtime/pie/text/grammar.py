"""Grammars that a model's output can be held to: from source to compiled, once per content.

Owns the decision where a grammar is compiled. xgrammar cannot be interrupted, so a source is first screened
(`grammar_limits`); what is light for this vocabulary is compiled in a thread, the rest in a worker process that is
killed when its time is up. It does not know of tokens generated; that is `matcher`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pie.text.grammar_limits import GrammarKind, GrammarLimits, screen
from pie.text.grammar_process import GrammarProcess, WorkerSettings
from pie.text.markers import CallShape, Markers
from pie.text.tokenizer import Segment, Tokenizer
from pie.text.tools import call_forms, parse_tools
from pie.text.utf8 import Utf8Masks

__all__ = ["Grammar", "GrammarCompiler"]

# Weight times vocabulary that a thread may compile: the slowest sources measured take 17 ns per unit, under a second.
_LIGHT = 45_000_000
_OBJECT_BYTES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """A compiled grammar for one vocabulary. Immutable, shared by any number of matchers.

    Attributes:
        kind, source: what it was made from.
        vocab_size: number of logits its masks cover.
        compiled: xgrammar's object.
        tokenizer: the model's tokenizer.
        characters: what keeps the text UTF-8.
    """

    kind: GrammarKind
    source: str
    vocab_size: int
    compiled: Any = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    characters: Utf8Masks = field(repr=False)

    @property
    def num_bytes(self) -> int:
        """Memory it holds, about, its objects included."""
        return int(self.compiled.memory_size_bytes) + len(self.source) + _OBJECT_BYTES

    def to_string(self) -> str:
        """The grammar as EBNF."""
        return str(self.compiled.grammar)


class GrammarCompiler:
    """Compiles grammars for one model and keeps the recent ones. Lives in one event loop; `close` it at the end."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        stop_ids: Iterable[int] | None = None,
        limits: GrammarLimits | None = None,
    ) -> None:
        """Start no process and import nothing yet.

        Args:
            tokenizer: the model's tokenizer; its control tokens are in no text.
            vocab_size: number of logits of the model; tokens beyond, such as one of Gemma for images, may never come.
            stop_ids: tokens that may end a complete text (`ChatTemplate.stop_tokens`); None takes the tokenizer's.
            limits: bounds on grammars from outside.
        """
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._limits = limits or GrammarLimits()
        self._settings = WorkerSettings(
            tokens=_text_tokens(tokenizer)[:vocab_size],
            stop_ids=sorted(end for end in (tokenizer.stop_ids if stop_ids is None else stop_ids) if end < vocab_size),
            vocab_size=vocab_size,
            timeout_s=self._limits.timeout_s,
        )
        self._process = GrammarProcess(self._settings)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grammar")
        self._table: Any = None
        self._characters: Utf8Masks | None = None
        self._cache: OrderedDict[str, Grammar] = OrderedDict()
        self._cached_bytes = 0
        self._pending: dict[str, asyncio.Lock] = {}

    @property
    def cached_bytes(self) -> int:
        """Memory of the grammars kept."""
        return self._cached_bytes

    async def from_json_schema(self, schema: str) -> Grammar:
        """JSON that fits a schema. Properties a schema does not name are not made unless it asks for them.

        Raises:
            GrammarError: `bad-schema`, `grammar-too-large`, `grammar-timeout` or `grammar-worker-failed`.
        """
        return await self._compile("json-schema", schema)

    async def json(self) -> Grammar:
        """Any JSON."""
        return await self._compile("json", "")

    async def from_regex(self, pattern: str) -> Grammar:
        r"""Text that matches the whole of a regular expression; `.` is any character, a new line too.

        There are no look-arounds, back-references or `\p` classes.

        Raises:
            GrammarError: `bad-regex`, `grammar-too-large`, `grammar-timeout` or `grammar-worker-failed`.
        """
        return await self._compile("regex", pattern)

    async def from_ebnf(self, ebnf: str) -> Grammar:
        """Text of a context-free grammar in GBNF; it starts at the rule `root`.

        Raises:
            GrammarError: `bad-ebnf`, `grammar-too-large`, `grammar-timeout` or `grammar-worker-failed`.
        """
        return await self._compile("ebnf", ebnf)

    async def tool_call(self, markers: Markers, tools: Sequence[str], *, many: bool = False) -> Grammar | None:
        """One call of one of the tools as the model writes it, marks included; None if the model has no such form.

        Args:
            markers: how it marks calls.
            tools: schemas, as `parse_tools` takes them.
            many: further calls may follow, where a turn of the family can have several.

        Raises:
            RequestError: `bad-tools`.
            GrammarError: as in `from_json_schema`.
        """
        marks = markers.tools
        parsed = parse_tools(tools)
        if marks is None or marks.shape is CallShape.PAIRS or not parsed:
            return None
        forms = call_forms(marks, parsed)
        source = {
            "before": self._grammar_piece(forms.before),
            "alternatives": [[self._grammar_piece(piece) for piece in pieces] for pieces in forms.alternatives],
            "after": self._grammar_piece(forms.after),
        }
        if many and forms.between is not None:
            source["between"] = self._grammar_piece(forms.between)
        return await self._compile("tool-call", json.dumps(source))

    async def start_worker(self) -> None:
        """Start the worker process ahead of the first heavy grammar.

        Raises:
            GrammarError: `grammar-worker-failed`.
        """
        await self._process.start()

    async def close(self) -> None:
        """End the worker process and the thread."""
        await self._process.close()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _grammar_piece(self, piece: Segment | dict[str, Any]) -> Any:
        """A schema as it is; text as its ordinary pieces and the ids of its control tokens."""
        if isinstance(piece, dict):
            return {"schema": piece}
        parts: list[str | int] = []
        rest = piece.text
        for content in self._tokenizer.controls_in(piece.text) if piece.trusted else ():
            before, _, rest = rest.partition(content)
            token_id = self._tokenizer.token_id(content)
            parts += [before, content if token_id is None else token_id]
        return [part for part in [*parts, rest] if part != ""]

    async def _compile(self, kind: GrammarKind, source: str) -> Grammar:
        weight = screen(kind, source, self._limits)
        key = hashlib.sha256(f"{kind}\0{source}".encode(errors="surrogatepass")).hexdigest()
        lock = self._pending.setdefault(key, asyncio.Lock())
        try:
            async with lock:  # whoever asks for the same meanwhile waits and finds it in the cache
                grammar = self._cache.get(key) or await self._compile_anew(kind, source, weight)
                self._keep(key, grammar)
        finally:
            if not lock.locked():
                self._pending.pop(key, None)
        return grammar

    async def _compile_anew(self, kind: GrammarKind, source: str, weight: int) -> Grammar:
        loop = asyncio.get_running_loop()
        if weight * self._vocab_size <= _LIGHT:
            compiled = await loop.run_in_executor(self._thread, self._build, kind, source)
        else:
            serialized = await self._process.compile(kind, source)
            compiled = await loop.run_in_executor(self._thread, self._load, serialized)
        characters = await loop.run_in_executor(self._thread, self._utf8_masks)
        return Grammar(kind, source, self._vocab_size, compiled, self._tokenizer, characters)

    def _build(self, kind: GrammarKind, source: str) -> Any:
        from pie.text.grammar_build import build  # brings torch along: not before it is needed

        return build(kind, source, self._token_table(), num_threads=1)

    def _load(self, serialized: str) -> Any:
        import xgrammar

        return xgrammar.CompiledGrammar.deserialize_json(serialized, self._token_table())

    def _token_table(self) -> Any:
        from pie.text.grammar_build import token_table

        if self._table is None:  # only ever called in the one thread
            self._table = token_table(self._settings.tokens, self._settings.stop_ids, self._settings.vocab_size)
        return self._table

    def _utf8_masks(self) -> Utf8Masks:
        if self._characters is None:  # only ever called in the one thread
            count = min(self._tokenizer.vocab_size, self._vocab_size)
            tokens = [self._tokenizer.token_bytes(token_id) or b"" for token_id in range(count)]
            self._characters = Utf8Masks(tokens, vocab_size=self._vocab_size)
        return self._characters

    def _keep(self, key: str, grammar: Grammar) -> None:
        if key not in self._cache:
            self._cache[key] = grammar
            self._cached_bytes += grammar.num_bytes
        self._cache.move_to_end(key)
        while self._cached_bytes > self._limits.cache_bytes and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= oldest.num_bytes


def _text_tokens(tokenizer: Tokenizer) -> list[bytes]:
    """Bytes by id; those of control tokens are no UTF-8, so no text holds one and only `Token(id)` in EBNF names it."""
    tokens = [tokenizer.token_bytes(token_id) or b"" for token_id in range(tokenizer.vocab_size)]
    for token in tokenizer.added_tokens:
        tokens[token.token_id] = b"\xff" + token.content.encode()
    return tokens
