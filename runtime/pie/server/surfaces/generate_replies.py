"""What `POST /v1/generate/{model}` answers, as types: for descriptions of it. `generate.py` writes it."""

from __future__ import annotations

from typing import Literal

import msgspec

from pie.server.surfaces.replies import TokenUsage

__all__ = ["Generation", "GenerationChunk"]


class GenerationFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a generation failed."""

    code: str
    message: str


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a text goes on, and the milliseconds to its first text and for each token after that, as far as known."""

    model: str
    text: str
    finish_reason: Literal["stop", "length"]
    usage: TokenUsage
    attempt_id: str
    ttft_ms: float | None = None
    tpot_ms: float | None = None


class GenerationChunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data of one event; the last one, with `done`, tells how it ended, and `[DONE]` follows unless it failed."""

    request_id: str
    seq: int
    text_delta: str
    done: bool
    finish_reason: Literal["stop", "length", "error", "cancelled"] | None = None
    usage: TokenUsage | None = None
    attempt_id: str | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    error: GenerationFault | None = None
