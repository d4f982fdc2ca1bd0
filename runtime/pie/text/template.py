"""The chat template of a model as pieces of tokens, one per message.

Owns the way from messages to token ids: it frames a message as the model's template does and lets only the template's
own text write control tokens. Words of messages, tool schemas and tool results are never trusted. It does not know
of contexts or of what a model answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pie.errors import ModelError, RequestError
from pie.text.calls import write_calls
from pie.text.framing import CHATML, Frame, Unsplittable, Words, split_template
from pie.text.markers import CallShape, Markers, ToolMarkers, find_markers
from pie.text.sandbox import SandboxedTemplate
from pie.text.tokenizer import Segment, Tokenizer, read_json
from pie.text.tools import parse_tools

__all__ = ["ChatTemplate"]

_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


class ChatTemplate:
    """Frames messages for one model. Immutable; made by `ChatTemplate.load`.

    Attributes:
        notes: what the template cannot do exactly, for the operator; empty if everything equals the template.
        markers: how the model marks reasoning and tool calls.
    """

    def __init__(self, tokenizer: Tokenizer, source: str | None, *, variables: Mapping[str, Any] | None = None) -> None:
        """Cut a template into pieces, or fall back to ChatML and say so in `notes`.

        Args:
            tokenizer: the model's tokenizer.
            source: jinja2 source; None if the model has no template.
            variables: names the template may use (`bos_token` and its like).
        """
        self._tokenizer = tokenizer
        self.markers: Markers = find_markers(lambda content: tokenizer.token_id(content) is not None, source or "")
        self._template: SandboxedTemplate | None = None
        self._frames = CHATML
        notes: tuple[str, ...] = ()
        if source is None:
            notes = ("the model has no chat template: ChatML is used",)
        else:
            try:
                self._template = SandboxedTemplate(source, variables=variables)
                self._frames = split_template(self.render, closer=str((variables or {}).get("eos_token", "")))
            except Unsplittable as reason:
                notes = (f"the chat template cannot be cut into messages, {reason}: ChatML is used",)
            except ModelError as error:
                notes = (f"{error.cause}: ChatML is used",)
        if notes:
            self._template = None
        self.notes = (*notes, *self._frames.notes, *self._seam_notes())

    @classmethod
    def load(cls, directory: Path | str, tokenizer: Tokenizer) -> ChatTemplate:
        """Read the template of a model directory: `chat_template.jinja`, or the one in `tokenizer_config.json`.

        Raises:
            ModelError: `bad-tokenizer` if `tokenizer_config.json` is not JSON, `bad-chat-template` if the template's
                file is not text.
        """
        folder = Path(directory)
        path = folder / "tokenizer_config.json"
        settings = read_json(path) if path.is_file() else {}
        variables = {name: _content(settings[name]) for name in _SPECIAL_NAMES if settings.get(name) is not None}
        own_file = folder / "chat_template.jinja"
        source = _read_text(own_file) if own_file.is_file() else _source(settings.get("chat_template"))
        return cls(tokenizer, source, variables=variables)

    @property
    def cue_opens_reasoning(self) -> bool:
        """True if the cue already begins a block of reasoning, so that the model's first words are inside of it."""
        if self.markers.reasoning is None:
            return False
        start, end = self.markers.reasoning
        return self._frames.cue.rfind(start) > self._frames.cue.rfind(end)

    def system(self, message: str) -> list[int]:
        """A system message at the start of a conversation."""
        return self._encode(self._frames.system, text=message)

    def first_user(self, message: str) -> list[int]:
        """A user's message at the start of a conversation, with what the template puts in front of everything."""
        return self._encode(self._frames.first_user, text=message)

    def user(self, message: str) -> list[int]:
        """A user's message after others."""
        return self._encode(self._frames.user, text=message)

    def system_user(self, system: str, user: str) -> list[int]:
        """A system message and the first user's message; the right call where a template folds one into the other."""
        return self._encode(self._frames.system_user, system=system, text=user)

    def assistant(self, message: str, *, tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> list[int]:
        """A whole turn of the assistant, as the template writes it in the middle of a conversation.

        Args:
            message: the words; reasoning marks in them are words too.
            tool_calls: name and arguments of the tools called at the end of the turn.
        """
        head, text, tail = self._frames.assistant.parts
        words = _segments(Frame((head, text)), {"text": message})
        if not tool_calls:
            return self._tokenizer.encode_segments([*words, *_segments(Frame((tail,)), {})])
        marks = self.markers.tools
        if marks is not None and marks.is_message:
            return [*(self.assistant(message) if message else []), *self._call_messages(marks, tool_calls)]
        calls = _plain_calls(tool_calls) if marks is None else write_calls(marks, tool_calls)
        return self._tokenizer.encode_segments([*words, *calls, *_segments(Frame((tail,)), {})])

    def cue(self) -> list[int]:
        """What opens the assistant's turn; generation starts after it."""
        return self._tokenizer.encode(self._frames.cue)

    def seal(self) -> list[int]:
        """What closes the assistant's turn: after `cue` and generated tokens without their stop token."""
        return self._tokenizer.encode(self._frames.seal)

    def stop_tokens(self) -> list[int]:
        """Ids that end the assistant's turn, ascending.

        Those that the model's files name, and the first control token that the template writes after a turn; except
        where a turn is several messages, which end alike.
        """
        ids = set(self._tokenizer.stop_ids)
        for following in () if self.markers.has_channels else (self._frames.user, self._frames.answer):
            after_turn = self._tokenizer.encode(self._frames.seal + str(following.parts[0]))
            ids |= set([token_id for token_id in after_turn if token_id in self._tokenizer.special_ids][:1])
        return sorted(ids)

    def equip(self, tools: Sequence[str], *, system: str | None = None) -> list[int]:
        """The beginning of a conversation that registers tools; a user's message (`user`) follows.

        Args:
            tools: JSON schemas, `{"name", "description", "parameters"}` or the same under `"function"`.
            system: a system message to go with them, as the template places it.

        Raises:
            RequestError: `bad-tools` if a schema is not a JSON object with a name, or all are too long.
        """
        parsed, hidden = self._parsed_tools(tools)
        text = self._equipped(parsed, with_system=system is not None)
        words = {**hidden, _SYSTEM_WORD: system or ""}
        pieces: list[Segment] = []
        for piece, word in _cut(text, list(words)):
            pieces.append(Segment(piece, trusted=True))
            if word is not None:
                pieces.append(Segment(words[word], trusted=False))
        return self._tokenizer.encode_segments(pieces)

    def answer(self, name: str, value: str) -> list[int]:
        """The result of a tool, as a turn of its own after the assistant's call.

        Args:
            name: the tool's name, for templates that write it.
            value: the result as text, usually JSON.
        """
        return self._encode(self._frames.answer, name=name, text=value)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """What the template itself makes of a whole conversation, as text.

        Raises:
            ModelError: `bad-chat-template` if the template refuses, or if there is none.
        """
        if self._template is None:
            raise ModelError("bad-chat-template", "there is no usable chat template", remedy="Add one to the model.")
        return self._template.render(messages=messages, tools=tools, add_generation_prompt=add_generation_prompt)

    def _encode(self, frame: Frame, **words: str) -> list[int]:
        return self._tokenizer.encode_segments(_segments(frame, words))

    def _call_messages(self, marks: ToolMarkers, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[int]:
        end = Segment(marks.end or "", trusted=True)
        cue = Segment(self._frames.cue, trusted=True)
        messages = [[cue, *write_calls(marks, [call]), end] for call in calls]
        return self._tokenizer.encode_segments([segment for message in messages for segment in message])

    def _parsed_tools(self, tools: Sequence[str]) -> tuple[list[Any], dict[str, str]]:
        """The schemas with every control token in them replaced by a word, and what the words stand for."""
        hidden: dict[str, str] = {}
        try:
            return [_hide(tool, self._tokenizer, hidden) for tool in parse_tools(tools)], hidden
        except RecursionError as error:
            raise RequestError("bad-tools", "a tool schema is nested too deeply") from error

    def _equipped(self, tools: list[Any], *, with_system: bool) -> str:
        """The text up to the first user's message, with a word for the system message if there is one."""
        messages = [{"role": "user", "content": _USER_WORD}]
        if with_system:
            messages.insert(0, {"role": "system", "content": _SYSTEM_WORD})
        before_user = str(self._frames.user.parts[0])
        try:
            text = self.render(messages, tools=tools)
            before, found, _ = text.partition(_USER_WORD)
            plain = self.render(messages).partition(_USER_WORD)[0]
        except ModelError:
            return self._spelled_out(tools, with_system=with_system)
        is_apart = bool(found) and before.endswith(before_user) and before != plain
        if not is_apart or before.count(_SYSTEM_WORD) != with_system:
            return self._spelled_out(tools, with_system=with_system)
        return before.removesuffix(before_user) if before_user else before

    def _spelled_out(self, tools: list[Any], *, with_system: bool) -> str:
        """Tools in a system message, for templates without a place for them."""
        schemas = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        text = f"Tools:\n{schemas}\nTo call one, write {self._example()}"
        return self._frames.system.text(text=f"{_SYSTEM_WORD}\n{text}" if with_system else text)

    def _example(self) -> str:
        """What a call looks like."""
        marks = self.markers.tools
        if marks is None or marks.shape is not CallShape.JSON:
            call = _plain_calls([("...", {})]) if marks is None else write_calls(marks, [("...", {})])
            return "".join(segment.text for segment in call)
        body = f'{{"{marks.name_key}": ..., "{marks.arguments_key}": ...}}'
        return marks.around[0] + marks.opening + body + marks.closing + marks.around[1]

    def _seam_notes(self) -> tuple[str, ...]:
        """Tell if pieces encoded one by one differ from the whole encoded at once."""
        words = "Two words"
        frames = self._frames
        texts = [frames.first_user.text(text=words), frames.assistant.text(text=words), frames.user.text(text=words)]
        pieces = [*self.first_user(words), *self.assistant(words), *self.user(words), *self.cue()]
        if pieces == self._tokenizer.encode("".join([*texts, frames.cue])):
            return ()
        return ("no control token between turns: pieces may be cut into tokens differently than a whole conversation",)


_USER_WORD, _SYSTEM_WORD = "Usr1jzWord", "Sys3qvWord"


def _segments(frame: Frame, words: Mapping[str, str]) -> list[Segment]:
    return [
        Segment(part.fill.apply(words[part.slot]), trusted=False)
        if isinstance(part, Words)
        else Segment(part, trusted=True)
        for part in frame.parts
    ]


def _plain_calls(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Segment]:
    """Calls of a model without a format of its own, as JSON."""
    objects = ({"name": name, "arguments": arguments} for name, arguments in calls)
    return [Segment("\n".join(json.dumps(call, ensure_ascii=False) for call in objects), trusted=False)]


def _content(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            "bad-chat-template", f"{path} cannot be read: {error}", remedy="Download the model again."
        ) from error


def _source(setting: Any) -> str | None:
    """The template of a `chat_template` setting: text, or a list of named ones of which `default` counts."""
    if isinstance(setting, list):
        named = {entry.get("name"): entry.get("template") for entry in setting if isinstance(entry, dict)}
        setting = named.get("default")
    return setting if isinstance(setting, str) else None


def _hide(value: Any, tokenizer: Tokenizer, hidden: dict[str, str]) -> Any:
    """Put an unmistakable word in the place of every control token within a JSON value."""
    match value:
        case str():
            for content in tokenizer.controls_in(value):
                word = f"Ctl{len(hidden)}gmWord"
                hidden[word] = content
                value = value.replace(content, word, 1)
            return value
        case list():
            return [_hide(item, tokenizer, hidden) for item in value]
        case dict():
            return {_hide(key, tokenizer, hidden): _hide(item, tokenizer, hidden) for key, item in value.items()}
        case _:
            return value


def _cut(text: str, words: Sequence[str]) -> list[tuple[str, str | None]]:
    """Text pieces, each with the word that ends it; the last has none."""
    pieces: list[str | None] = [*re.split(f"({'|'.join(map(re.escape, words))})", text), None]
    return [(piece or "", word) for piece, word in zip(pieces[::2], pieces[1::2], strict=True)]
