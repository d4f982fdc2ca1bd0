"""Low-rank adapters of a model, named per user."""

from __future__ import annotations

from typing import Self

from wit_world.imports import adapter as wit_adapter

from inferlet.errors import call
from inferlet.model import Model

__all__ = ["Adapter"]


class Adapter:
    """An adapter in the server's registry. It stays there when the program ends, until `destroy`."""

    __slots__ = ("wit",)

    def __init__(self, handle: wit_adapter.Adapter) -> None:
        self.wit = handle

    @classmethod
    def create(cls, model: Model, name: str) -> Adapter:
        """A new, empty adapter.

        Raises:
            Error: `adapter-exists`; `bad-adapter-name` if it is empty, very long or not printable.
        """
        return cls(call(wit_adapter.Adapter.create, model.wit, name))

    @classmethod
    def open(cls, model: Model, name: str) -> Adapter | None:
        """The adapter of that name, or None."""
        handle = wit_adapter.Adapter.open(model.wit, name)
        return None if handle is None else cls(handle)

    def fork(self, new_name: str) -> Adapter:
        """A copy under another name; whatever uses the copy raises what is wrong with the name."""
        return Adapter(self.wit.fork(new_name))

    def save(self, path: str) -> None:
        """Write the weights, and the state of their training, to a file below `/scratch`.

        Raises:
            Error: `adapter-not-saved`; `adapter-unusable` if there are no weights yet.
        """
        call(self.wit.save, path)

    def load(self, path: str) -> None:
        """Read weights from a file of `save`, or from a PEFT directory with safetensors.

        Args:
            path: below `/scratch`, or a name in the folder that the operator keeps for the user.

        Raises:
            Error: `adapter-not-found`; `adapter-unusable` if it does not fit the model.
        """
        call(self.wit.load, path)

    def destroy(self) -> None:
        """Remove it from the registry; passes under way keep its weights."""
        self.wit.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wit.__exit__(None, None, None)
