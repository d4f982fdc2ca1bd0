"""The models of a server: those that are ready, those that are still being loaded, and those that could not be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from pie.errors import ModelError, PieError
from pie.host.served_model import ServedModel

__all__ = ["ModelLoadFailed", "ModelState", "ServedModels", "model_loading"]

ModelState = Literal["loading", "ready", "failed"]


class ModelLoadFailed(ModelError):
    """A model that the server was to serve is not there, and will not be before it is started again.

    Attributes:
        model: its name.
        reason: why.
    """

    def __init__(self, model: str, reason: PieError) -> None:
        """Tell of `model` why it could not be loaded."""
        cause = f"model {model!r} could not be loaded: {reason.code}: {reason.cause}"
        super().__init__("model-load-failed", cause, remedy=reason.remedy)
        self.model = model
        self.reason = reason


class ServedModels(Mapping[str, ServedModel]):
    """As a mapping, the models that are ready, in the operator's order.

    Attributes:
        names: of all, whatever became of them; the first is the one that programs get unless they ask for another.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """All of them are being loaded; `add` or `fail` tells of each how that ended."""
        self.names = tuple(names)
        self._ready: dict[str, ServedModel] = {}
        self._failed: dict[str, ModelLoadFailed] = {}
        self._news = asyncio.Event()

    @classmethod
    def ready(cls, models: Mapping[str, ServedModel]) -> ServedModels:
        """Models that were loaded before."""
        made = cls(models)
        for name, model in models.items():
            made.add(name, model)
        return made

    def __getitem__(self, name: str) -> ServedModel:
        """A model that is ready; KeyError for any other."""
        return self._ready[name]

    def __iter__(self) -> Iterator[str]:
        """The names of those that are ready."""
        return (name for name in self.names if name in self._ready)

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._ready)

    @property
    def loading(self) -> tuple[str, ...]:
        """The names of those of which it is not known yet."""
        return tuple(name for name in self.names if self.state(name) == "loading")

    @property
    def failures(self) -> Mapping[str, ModelLoadFailed]:
        """Why those that could not be loaded were not, by name."""
        return self._failed

    def state(self, name: str) -> ModelState:
        """What became of a model of `names`."""
        if name in self._ready:
            return "ready"
        return "failed" if name in self._failed else "loading"

    def find(self, name: str) -> ServedModel:
        """The model of that name; of the empty one, the first.

        Raises:
            ModelError: `model-not-served`, `model-loading`, `model-load-failed`.
        """
        name = name or self.names[0]
        if name in self._ready:
            return self._ready[name]
        if name in self._failed:
            raise self._failed[name]
        if name in self.names:
            raise model_loading(name)
        raise ModelError(
            "model-not-served",
            f"no model named {name!r} is served here; there is {', '.join(self) or 'none'}",
            remedy="Use a name that runtime.models() returns.",
        )

    def add(self, name: str, model: ServedModel) -> None:
        """A model of `names` is ready."""
        self._ready[name] = model
        self._tell()

    def fail(self, name: str, reason: PieError) -> None:
        """A model of `names` could not be loaded."""
        self._failed[name] = ModelLoadFailed(name, reason)
        self._tell()

    async def change(self) -> None:
        """Return when it is known of one more what became of it."""
        await self._news.wait()

    async def settled(self) -> None:
        """Return when it is known of all what became of them."""
        while self.loading:
            await self.change()

    async def when_ready(self, name: str) -> ServedModel:
        """A model, once it is loaded.

        Raises:
            ModelError: `model-not-served`, `model-load-failed`.
        """
        while name in self.loading:
            await self.change()
        return self.find(name)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def model_loading(name: str) -> ModelError:
    """A model is not there yet."""
    return ModelError("model-loading", f"model {name!r} is being loaded", remedy="Try again soon.")
