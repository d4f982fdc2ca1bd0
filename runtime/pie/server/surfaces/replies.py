"""What surfaces answer, as types: for descriptions of them. `chat.py`, `completions.py` and `models.py` write it."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "ChatCompletion",
    "ChatCompletionChunk",
    "EmbeddingList",
    "ErrorReply",
    "ModelEntry",
    "ModelList",
    "Provisioning",
    "TextCompletion",
    "TokenUsage",
]

FinishReason = Literal["stop", "length", "tool_calls"]


class CachedTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of the prompt that the server knew already."""

    cached_tokens: int


class ReasoningTokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens with which the model thought."""

    reasoning_tokens: int


class TokenUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens that went in and came out, over all choices."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens


class FunctionCalled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be called: `arguments` is JSON."""

    name: str
    arguments: str


class ToolCalled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that the model asks for."""

    id: str
    type: Literal["function"]
    function: FunctionCalled


class AnswerMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The turn of the model."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[ToolCalled] = []


class ProbableToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token, its bytes, and the natural logarithm of its probability."""

    token: str
    bytes: list[int] | None
    logprob: float


class ChatTokenLogprobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token of the answer, and the most likely ones at its place."""

    token: str
    bytes: list[int] | None
    logprob: float
    top_logprobs: list[ProbableToken]


class ChatLogprobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How likely the tokens of an answer were, if that is asked for."""

    content: list[ChatTokenLogprobs]
    refusal: None


class ChatChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the answers that were asked for."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All answers to a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[ChatChoice]
    usage: TokenUsage


class FunctionPiece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a call."""

    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of the call at an index."""

    index: int
    function: FunctionPiece
    id: str | None = None
    type: Literal["function"] | None = None


class Delta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a chunk adds to the turn."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolCallPiece] = []


class ChunkChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a chunk adds to the one choice."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class ChatCompletionChunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data of one event; the stream ends with `[DONE]`, or with an error in place of a chunk."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[ChunkChoice]
    usage: TokenUsage | None = None


class TextLogprobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How likely the tokens of a text were, if that is asked for; each begins at an offset in characters."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the texts that were asked for, or a piece of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class TextCompletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How prompts go on; in a stream the data of one event, with the usage in the last one if it is asked for."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[TextChoice]
    usage: TokenUsage | None = None


class InputUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of all inputs."""

    prompt_tokens: int
    total_tokens: int


class Embedding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input's: numbers, or base64 of f32 values, little-endian."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One embedding for each input."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: InputUsage


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All models that are served."""

    object: Literal["list"]
    data: list[ModelEntry]


class ErrorDetail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong: `code` names the kind, as in docs/errors.md with underscores; `param` is the field at fault.

    The fields after it are told of a model that could not be loaded.
    """

    message: str
    type: str
    param: str | None
    code: str
    error_class: Literal["NOT_FOUND", "OOM", "UNKNOWN"] | None = None
    permanent: bool | None = None
    attempts: int | None = None


class ErrorReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request that was not answered."""

    error: ErrorDetail


class Provisioning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for is not there yet, and will be.

    Attributes:
        status: always the same.
        gpu: the kind of machine that gets ready.
        bundle: always the same.
        estimated_wait_s: after which it is worth while to ask again; it may take longer.
        message: for people.
    """

    status: Literal["provisioning"]
    gpu: str
    bundle: str
    estimated_wait_s: int
    message: str
