"""The host interfaces over a scheduler and the tests' device, called as a guest calls them, by their names in WIT."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tests.scheduler.fake_device import FakeDevice, make_info

from pie.errors import PieError
from pie.host.imports import all_imports
from pie.host.mailbox import Mailbox
from pie.host.model import Model
from pie.host.served_model import ServedModel
from pie.host.served_models import ServedModels
from pie.host.state import HostState
from pie.host.topics import Topics
from pie.scheduler.scheduler import Scheduler
from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer
from pie.wasm.values import Err, Variant

__all__ = ["Refused", "Server", "Tally", "Texts"]

OWNER = "guest"
FOREVER_US = (1 << 64) - 1
CONTEXT, INFERENCE, GENERATION = "pie:core/context", "pie:core/inference", "pie:ext/generation"


class Refused(Exception):
    """A call was answered by an error."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Tally:
    """What was called, and how it went.

    Attributes:
        sequences: how many sequences came to their end.
        calls: how many functions were called.
        errors_by_code: how often each code was told.
        untyped: calls that raised something else than an error with a code.
        leaked_pages: pages that somebody held after the end.
    """

    sequences: int = 0
    calls: int = 0
    errors_by_code: Counter[str] = field(default_factory=Counter)
    untyped: int = 0
    leaked_pages: int = 0


@dataclass(frozen=True, slots=True)
class Texts:
    """What all servers share: a tokenizer and a template, which take long to load."""

    tokenizer: Tokenizer
    template: ChatTemplate

    @classmethod
    def load(cls, model: Path) -> Texts:
        tokenizer = Tokenizer.load(model)
        return cls(tokenizer, ChatTemplate.load(model, tokenizer))


class Server:
    """One model on the tests' device, and one process that calls the host.

    Attributes:
        last_code: of the error that was told last.
    """

    def __init__(self, texts: Texts, tally: Tally, *, snapshot_dir: Path | None, num_host_pages: int) -> None:
        info = make_info(num_pages=4096, max_positions=8192, num_host_pages=num_host_pages)
        self.info = info
        self._tally = tally
        self.last_code = ""
        self._loop = asyncio.new_event_loop()
        self._scheduler = Scheduler(FakeDevice(info), snapshot_dir=snapshot_dir)
        absent = cast(Any, None)  # no call that is made here comes near them
        served = ServedModel(
            name=info.model,
            vocab_size=info.vocab_size,
            context_length=info.max_positions,
            page_bytes=info.page_bytes,
            scheduler=self._scheduler,
            tokenizer=texts.tokenizer,
            template=texts.template,
            grammars=absent,
            adapters=absent,
            adapter_dir=absent,
        )
        self._state = HostState(
            process_id=OWNER,
            username="user",
            models=ServedModels.ready({info.model: served}),
            mailbox=Mailbox(lambda _event: None),
            topics=Topics(),
            children=absent,
            mcp=absent,
            http=absent,
            seed=1,
        )
        self._guest = SimpleNamespace(data=self._state)
        self._imports = all_imports()
        self.model = Model(served)
        self._steps = self._loop.create_task(self._scheduler.run())
        self._loop.run_until_complete(self._scheduler.owners.admit(OWNER))

    def call(self, interface: str, name: str, *arguments: Any) -> Any:
        """Call a function of the host and wait for its answer.

        Raises:
            Refused: it was told an error.
        """
        function = self._imports.find_function(interface, name)
        if function is None:
            raise LookupError(f"{interface}#{name}")

        async def answer() -> Any:
            value = function.call(self._guest, *arguments)
            return await value if inspect.isawaitable(value) else value

        self._tally.calls += 1
        try:
            return self._loop.run_until_complete(answer())
        except PieError as error:
            raise self._refused(error.code) from error
        except Exception:
            self._tally.untyped += 1
            raise

    def context(self, name: str, *arguments: Any) -> Any:
        """Call a function or method of contexts; methods take the context first."""
        kind = "static" if name in ("create", "open", "take", "delete") else "method"
        return self.call(CONTEXT, f"[{kind}]context.{name}", *arguments)

    def begin_pass(self) -> Any:
        """A pass with nothing asked yet."""
        return self.call(INFERENCE, "[constructor]forward-pass", self.model)

    def on_pass(self, name: str, forward_pass: Any, *arguments: Any) -> Any:
        """Call a method of a pass."""
        return self.call(INFERENCE, f"[method]forward-pass.{name}", forward_pass, *arguments)

    def output(self, future: Any) -> Any:
        """The record `output` of a pass; raises Refused if it failed."""
        (_, outcome), *_ = self.call("pie:ext/wait", "wait-many", [Variant("output", future)], FOREVER_US)
        if outcome.tag == "failed":
            raise self._refused(outcome.payload.partition(": ")[0])
        return outcome.payload

    def generate(self, context: Any, options: dict[str, Any]) -> Any:
        """Start a generation."""
        return self.call(GENERATION, "[static]generation.start", context, options, [], None)

    def progress(self, generation: Any) -> Any:
        """What is new in a generation, waiting for it; raises Refused if it failed."""
        (_, outcome), *_ = self.call("pie:ext/wait", "wait-many", [Variant("generation", generation)], FOREVER_US)
        if isinstance(outcome.payload, Err):
            raise self._refused(str(outcome.payload.payload).partition(": ")[0])
        return outcome.payload.payload

    def cancel(self, generation: Any) -> Any:
        """End a generation; what it had made since the last time, or None."""
        self.call(GENERATION, "[method]generation.cancel", generation)
        return self.call(GENERATION, "[method]generation.get", generation)

    def pause(self, num_turns: int) -> None:
        """Let the scheduler go on for some turns of the loop."""

        async def sleep() -> None:
            for _ in range(num_turns):
                await asyncio.sleep(0)

        self._loop.run_until_complete(sleep())

    def close(self) -> None:
        """End the process and the scheduler; whatever somebody still holds then is counted as leaked."""
        self._state.mailbox.close()
        self._scheduler.release_owner(OWNER)
        for name in self._loop.run_until_complete(self._scheduler.list_snapshots("user")):
            self._loop.run_until_complete(self._scheduler.delete(user="user", name=name))
        self.pause(20)
        self._scheduler.check()
        ledger = self._scheduler.ledger()
        self._tally.sequences += 1
        self._tally.leaked_pages += (
            ledger.held + ledger.stashed + ledger.total - ledger.free - ledger.cached - ledger.held
        )
        self._steps.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._steps)
        self._loop.close()

    def _refused(self, code: str) -> Refused:
        self._tally.errors_by_code[code] += 1
        self.last_code = code
        return Refused(code)
