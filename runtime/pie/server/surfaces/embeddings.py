"""`POST /v1/embeddings`: the fields of a request, and OpenAI's words for what a program answers."""

from __future__ import annotations

import base64
import math
import struct
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pie.host.served_model import ServedModel
from pie.host.served_models import ServedModels
from pie.server.surfaces.models import check_served
from pie.server.surfaces.reading import Word, bad_value, read, unsupported
from pie.server.surfaces.vocabulary import Given, Took, bad_answer, read_embeddings

__all__ = ["EmbeddingExchange", "EmbeddingRequest"]

MAX_INPUTS = 128
MAX_CHARACTERS = 1 << 20
MAX_TOKENS = 1 << 17
FLOAT_BYTES = 4

Text = Annotated[str, Meta(min_length=1, max_length=MAX_CHARACTERS)]
Token = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Tokens = Annotated[list[Token], Meta(min_length=1, max_length=MAX_TOKENS)]


class EmbeddingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body: `input` is a text, several, the ids of the tokens of one, or several lists of ids."""

    model: Word
    input: Text | Annotated[list[Text | Token | Tokens], Meta(min_length=1, max_length=MAX_TOKENS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None

    @property
    def inputs(self) -> list[str | list[int]]:
        """What each embedding is of: a text, or the ids of its tokens."""
        if isinstance(self.input, str):
            return [self.input]
        ids = [one for one in self.input if isinstance(one, int)]
        return [ids] if ids else [one for one in self.input if not isinstance(one, int)]

    def normal(self, models: ServedModels) -> Given:
        """The input of the program.

        Raises:
            Refusal: fields ask for what there is not.
        """
        check_served(self.model, models)
        if self.dimensions is not None:
            raise unsupported("dimensions")
        self._check_input(models[self.model])
        return {"model": self.model, "context_length": models[self.model].context_length, "inputs": self.inputs}

    def _check_input(self, model: ServedModel) -> None:
        inputs = self.inputs
        num_ids = 0 if isinstance(self.input, str) else sum(isinstance(one, int) for one in self.input)
        if 0 < num_ids < len(self.input):
            raise bad_value("input", "the input has ids of tokens beside texts or lists")
        if len(inputs) > MAX_INPUTS:
            raise bad_value("input", f"there are more than {MAX_INPUTS} inputs")
        for tokens in inputs:
            if isinstance(tokens, list) and max(tokens) >= model.vocab_size:
                raise bad_value("input", f"{max(tokens)} is no token of the model")


class EmbeddingExchange:
    """One request, and the words of its answer; see `Exchange`."""

    def __init__(self, body: bytes, models: ServedModels) -> None:
        """Read a body.

        Raises:
            Refusal: it is not well formed, or asks for what there is not.
        """
        request = read(body, EmbeddingRequest)
        self.given = request.normal(models)
        self.words = None
        self._num_inputs = len(request.inputs)
        self._model = request.model
        self._as_base64 = request.encoding_format == "base64"

    def whole(self, value_json: str, _took: Took) -> dict[str, Any]:
        """One embedding for each input, in their order."""
        returned = read_embeddings(value_json, num_inputs=self._num_inputs)
        data = [
            {"object": "embedding", "index": index, "embedding": self._told(text)}
            for index, text in enumerate(returned.embeddings)
        ]
        usage = {"prompt_tokens": returned.prompt_tokens, "total_tokens": returned.prompt_tokens}
        return {"object": "list", "data": data, "model": self._model, "usage": usage}

    def _told(self, text: str) -> list[float] | str:
        try:
            content = base64.b64decode(text, validate=True)
            values = list(struct.unpack(f"<{len(content) // FLOAT_BYTES}f", content))
        except (ValueError, struct.error):
            raise bad_answer("an embedding is no base64 of f32 values") from None
        if not all(map(math.isfinite, values)):
            raise bad_answer("an embedding has values that are not finite")
        return text if self._as_base64 else values
