"""How likely the tokens of a message were, as the Responses API tells it: in its part, and in events without bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pie.host.served_model import ServedModel
from pie.server.surfaces.logprobs import TextLogprobs, chat_form
from pie.server.surfaces.vocabulary import TokenLogprobs

__all__ = ["ItemLogprobs", "in_events"]

Entry = dict[str, Any]


class ItemLogprobs:
    """Those of one message, as its text comes."""

    def __init__(self, model: ServedModel, num_top: int | None) -> None:
        """Begin with a message of which nothing is there; without `num_top` none are asked for."""
        self._tokenizer, self._num_top = model.tokenizer, num_top
        self._logprobs = TextLogprobs(model, with_reasoning=False)

    def hear(self, told: Sequence[TokenLogprobs]) -> None:
        """Take how likely the next tokens were."""
        if self._num_top is not None:
            self._logprobs.feed(told)

    def until(self, length: int) -> list[Entry]:
        """What has not been given yet of the tokens that begin before this place of the text."""
        content = chat_form(self._logprobs.until(length), self._tokenizer, self._num_top or 0)["content"]
        return [
            {**one, "bytes": one["bytes"] or [], "top_logprobs": [{**top, "bytes": top["bytes"] or []} for top in tops]}
            for one, tops in ((one, one["top_logprobs"]) for one in content)
        ]


def in_events(entries: Sequence[Entry]) -> list[Entry]:
    """The same as events have them."""
    return [
        {**_without_bytes(one), "top_logprobs": [_without_bytes(top) for top in one["top_logprobs"]]} for one in entries
    ]


def _without_bytes(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name != "bytes"}
