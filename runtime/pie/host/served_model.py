"""A model as programs see it: its text side and the scheduler of its device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pie.host.adapter_registry import AdapterRegistry
from pie.scheduler.scheduler import Scheduler
from pie.text.answers import AnswerReader
from pie.text.decoders import ChatDecoder, ReasoningDecoder, ToolDecoder
from pie.text.grammar import GrammarCompiler
from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer

__all__ = ["ServedModel"]


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """One loaded model.

    Attributes:
        name: what programs call it.
        vocab_size: number of logits per row; the tokenizer may know fewer tokens.
        context_length: tokens that a context may have.
        page_bytes: of the keys and values of a page.
        scheduler: owner of the model's contexts and steps.
        tokenizer: text to token ids and back.
        template: how conversations are framed.
        grammars: compiles grammars for this tokenizer.
        adapters: the named adapters of the model.
        adapter_dir: where the operator puts adapters for programs to load, one folder per user.
    """

    name: str
    vocab_size: int
    context_length: int
    page_bytes: int
    scheduler: Scheduler
    tokenizer: Tokenizer
    template: ChatTemplate
    grammars: GrammarCompiler
    adapters: AdapterRegistry
    adapter_dir: Path

    def chat_decoder(self, *, with_reasoning: bool = True) -> ChatDecoder:
        """A decoder of one assistant's turn."""
        return ChatDecoder(
            self.tokenizer,
            self.template.markers,
            stop_ids=self.template.stop_tokens(),
            starts_inside=self.template.cue_opens_reasoning,
            with_reasoning=with_reasoning,
        )

    def reasoning_decoder(self) -> ReasoningDecoder:
        """A decoder of the reasoning in one assistant's turn."""
        template = self.template
        return ReasoningDecoder(
            self.tokenizer,
            template.markers,
            stop_ids=template.stop_tokens(),
            starts_inside=template.cue_opens_reasoning,
        )

    def tool_decoder(self) -> ToolDecoder:
        """A decoder of the tool calls in one assistant's turn."""
        template = self.template
        return ToolDecoder(
            self.tokenizer,
            template.markers,
            stop_ids=template.stop_tokens(),
            starts_inside=template.cue_opens_reasoning,
        )

    def answer_reader(self, *, stop_texts: Sequence[str] = ()) -> AnswerReader:
        """What tells the text of one assistant's turn from its calls."""
        template = self.template
        return AnswerReader(
            self.tokenizer,
            template.markers,
            stop_ids=template.stop_tokens(),
            starts_inside=template.cue_opens_reasoning,
            stop_texts=stop_texts,
        )
