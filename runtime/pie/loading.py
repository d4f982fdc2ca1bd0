"""Loads the models of a runtime and keeps them stepping: at once, or one after another in a thread of its own.

Knows the engine, for the runtime, and nothing of programs. A thread that loads is told to stop, and is waited for, when
the runtime ends.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from pie.config import ModelSettings, Settings
from pie.engine.description import model_name
from pie.engine.device_thread import DeviceThread
from pie.engine.engine import Engine
from pie.engine.memory import is_out_of_memory
from pie.errors import ModelError, PieError, ProcessError, UsageError
from pie.forward import DeviceInfo
from pie.host.adapter_registry import AdapterRegistry
from pie.host.adapter_store import AdapterStore
from pie.host.served_model import ServedModel
from pie.host.served_models import ServedModels
from pie.scheduler.scheduler import Scheduler
from pie.text.grammar import GrammarCompiler
from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer

__all__ = ["ModelLoader"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    """A model, and the thread that computes with it."""

    device: DeviceThread
    served: ServedModel


class ModelLoader:
    """Owns the models of one runtime, from their files to the end of their last step.

    Attributes:
        models: what became of each.
    """

    def __init__(self, settings: Settings, on_failure: Callable[[BaseException], None]) -> None:
        """Prepare; `on_failure` hears if a scheduler fails, which is a defect of ours.

        Raises:
            UsageError: `model-name-taken`.
        """
        self._settings = settings
        self._on_failure = on_failure
        self._chosen = _by_name(settings.models)
        self.models = ServedModels(self._chosen)
        self._devices: list[DeviceThread] = []
        self._stepping: list[asyncio.Task[None]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_stepping(self) -> bool:
        """Whether the schedulers of all models that were loaded run."""
        return not any(task.done() for task in self._stepping)

    def load(self) -> None:
        """Load all models here and now: signals can interrupt it, and the event loop stands still.

        Raises:
            PieError: one could not be loaded; nothing is left of the others.
        """
        try:
            for name, chosen in self._chosen.items():
                self._enter(name, _load(name, chosen, self._settings, self._stop, stays=False))
        except BaseException:
            for task in self._stepping:
                task.cancel()
            self._close_devices()
            raise

    def begin(self) -> None:
        """Load them in a thread while the event loop goes on; one that cannot be loaded does not hold up the others."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._load_all, args=[loop], name="pie-loader", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop loading and stepping; no process may run any more."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            await asyncio.sleep(0)  # what it has handed over is looked at now, and put away
        for task in self._stepping:
            task.cancel()
        if self._stepping:
            await asyncio.wait(self._stepping)  # an error of their own has been told already
        for model in self.models.values():
            await model.grammars.close()
            await model.adapters.finish()
        self._close_devices()
        gc.unfreeze()

    def _load_all(self, loop: asyncio.AbstractEventLoop) -> None:
        for name, chosen in self._chosen.items():
            try:
                loaded = _load(name, chosen, self._settings, self._stop, stays=True)
            except PieError as error:
                told: Callable[[], None] = partial(self._fail, name, error)
            except Exception as error:  # a defect of ours: the other models, and whoever waits, go on without this one
                log.exception("model %s could not be loaded", name)
                told = partial(self._fail, name, _server_failed(error))
            else:
                told = partial(self._enter, name, loaded)
            loop.call_soon_threadsafe(told)
            if self._stop.is_set():
                return

    def _enter(self, name: str, loaded: _Loaded) -> None:
        if self._stop.is_set():
            loaded.device.close()
            return
        self._devices.append(loaded.device)
        task = asyncio.get_running_loop().create_task(loaded.served.scheduler.run(), name=f"scheduler of {name}")
        task.add_done_callback(self._stepping_ended)
        self._stepping.append(task)
        self.models.add(name, loaded.served)
        if not self.models.loading:
            gc.freeze()  # it stays, and looking through it again and again would stop all programs for 0.1 s

    def _fail(self, name: str, error: PieError) -> None:
        if not self._stop.is_set():
            log.error("model %s cannot be loaded: %s", name, error)
            self.models.fail(name, error)

    def _stepping_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)

    def _close_devices(self) -> None:
        for device in self._devices:
            device.close()


def _by_name(models: Iterable[ModelSettings]) -> dict[str, ModelSettings]:
    named: dict[str, ModelSettings] = {}
    for chosen in models:
        name = chosen.name or model_name(chosen.path)
        if name in named:
            raise UsageError(
                "model-name-taken",
                f"two models are called {name!r}",
                remedy="Give one of them a name of its own: [models.NAME] in the configuration.",
            )
        named[name] = chosen
    return named


def _load(name: str, chosen: ModelSettings, settings: Settings, stop: threading.Event, *, stays: bool) -> _Loaded:
    """One model, with a device thread that runs; for a runtime that stays, it takes the memory of the pages ahead.

    Raises:
        PieError: it cannot be loaded, or was told to stop (`stopped`).
    """
    try:
        device = DeviceThread(_load_engine(chosen, settings, stop), takes_memory=stays)
    except (MemoryError, OSError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            "not-enough-memory",
            f"the weights and {chosen.kv_pages or 'the'} KV pages of {name!r} do not fit: {_first_line(error)}",
            remedy="Free memory, or choose a smaller model or fewer pages.",
        ) from error
    try:
        return _Loaded(device, _serve(name, device, chosen, settings))
    except BaseException:
        device.close()
        raise


def _load_engine(chosen: ModelSettings, settings: Settings, stop: threading.Event) -> Engine:
    return Engine(
        chosen.path,
        weights=chosen.weights,
        backend=chosen.backend,
        kv_cache=chosen.kv_cache,
        num_pages=chosen.kv_pages,
        num_host_pages=chosen.host_pages,
        cache_dir=settings.cache / "kernels",
        stop=stop,
    )


def _serve(name: str, device: DeviceThread, chosen: ModelSettings, settings: Settings) -> ServedModel:
    info = device.info
    tokenizer = Tokenizer.load(chosen.path)
    template = ChatTemplate.load(chosen.path, tokenizer)
    for note in template.notes:
        log.warning("%s: %s", info.model, note)
    log.info("model loaded", extra={"facts": _room(info, is_chosen=chosen.kv_pages is not None)})
    scheduler = Scheduler(
        device,
        snapshot_dir=settings.home / "snapshots",
        max_batch_tokens=chosen.max_batch_tokens,
        prompt_step_s=chosen.prompt_step_ms / 1000,
        batch_policy=chosen.batch_policy,
    )
    store = AdapterStore(settings.home / "named-adapters" / info.checkpoint[:32], model=info.model)
    return ServedModel(
        name=name,
        vocab_size=info.vocab_size,
        context_length=info.max_positions,
        page_bytes=info.page_bytes,
        scheduler=scheduler,
        tokenizer=tokenizer,
        template=template,
        grammars=GrammarCompiler(tokenizer, vocab_size=info.vocab_size, stop_ids=template.stop_tokens()),
        adapters=AdapterRegistry(device, store, scheduler.weights),
        adapter_dir=settings.home / "adapters",
    )


def _room(info: DeviceInfo, *, is_chosen: bool) -> dict[str, object]:
    """What an operator must know of a model's pages: how many there are, and why."""
    return {
        "model": info.model,
        "kv_pages": info.num_pages,
        "page_tokens": info.page_size,
        "kv_mib": round(info.num_pages * info.page_bytes / (1 << 20), 1),
        "kv_pages_from": "the configuration" if is_chosen else "free memory",
        "host_pages": info.num_host_pages,
    }


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].strip().rstrip(".")


def _server_failed(error: Exception) -> ProcessError:
    return ProcessError(
        "server-failed",
        f"the server met an error of its own: {type(error).__name__}: {_first_line(error)}",
        remedy="Report it with the log of the server.",
    )
