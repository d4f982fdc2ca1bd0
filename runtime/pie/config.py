"""Settings, parsed once at the edge. The only reader of environment variables.

Parts below the composition root get only the numbers they need; this object does not travel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pie.errors import UsageError

__all__ = [
    "BackendChoice",
    "BatchPolicy",
    "Hub",
    "KVCacheChoice",
    "McpServer",
    "ModelSettings",
    "ProcessLimits",
    "Route",
    "Settings",
    "embedded_model",
    "expand",
    "pie_home",
]

BatchPolicy = Literal["greedy", "adaptive", "eager"]
"""Whether a step waits for more requests, see `pie.scheduler.gathering`."""
BackendChoice = Literal["auto", "flashinfer", "native", "torch"]
"""What computes a model, see `pie.engine.backend_choice`."""
KVCacheChoice = Literal["model", "fp8"]
"""How keys and values are kept, see `pie.engine.kv_form`."""
MIB = 1 << 20
DEFAULT_ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one process may use.

    Attributes:
        memory_bytes: linear memory of the guest.
        cpu_s: CPU seconds of the guest in all; None is unlimited.
        spin_s: CPU seconds of the guest without a single host call.
        host_calls: host calls in all; None is unlimited.
        handles: live handles at a time.
        scratch_bytes: size of all files under /scratch.
        children: programs launched by it, and by those, at a time.
        child_depth: how many launches such a program may be below the first one.
    """

    memory_bytes: int = 512 * MIB
    cpu_s: float | None = None
    spin_s: float = 10.0
    host_calls: int | None = None
    handles: int = 50_000
    scratch_bytes: int = 256 * MIB
    children: int = 64
    child_depth: int = 8


@dataclass(frozen=True, slots=True)
class McpServer:
    """A server of the Model Context Protocol that programs may connect to: a command, or an address.

    Attributes:
        name: by which programs ask for it.
        command: starts it, speaking over its stdin and stdout; empty if it has an address.
        url: where it answers streamable HTTP; empty if it has a command.
        env: variables of the command, beside a few common ones.
        headers: of each HTTP request.
        timeout_s: for connecting, and for each request.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Route:
    """A path of the server's own port, and the installed program that answers there and below it.

    Attributes:
        path: such as /answers.
        program: its name, of which the newest version answers, or `name@version`.
        surface: what is spoken at the path, such as `chat-completions`; None is whatever the program answers itself.
        on_disconnect: whether a surface lets the program go on when its client leaves; None is what it does by itself.
    """

    path: str
    program: str
    surface: str | None = None
    on_disconnect: Literal["continue", "cancel"] | None = None


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model that is served.

    Attributes:
        path: its Hugging Face directory.
        name: what programs call it; empty is the name of the directory.
        weights: how its matrices are kept in memory.
        backend: what computes it; auto takes the first that there is of flashinfer, native and torch.
        kv_cache: how its keys and values are kept: in its own dtype, or in 8 bits.
        kv_pages: number of KV pages; None sizes the cache from free memory.
        host_pages: number of pages of host memory for suspended contexts and evicted prefixes; None is half of the
            KV pages.
        max_batch_tokens: tokens of one step at most.
        prompt_step_ms: about how long a step with prompts may last while generations run.
        batch_policy: whether a step waits for more requests.
    """

    path: Path
    name: str = ""
    weights: Literal["original", "int8", "int4"] = "original"
    backend: BackendChoice = "auto"
    kv_cache: KVCacheChoice = "model"
    kv_pages: int | None = None
    host_pages: int | None = None
    max_batch_tokens: int = 512
    prompt_step_ms: float = 200.0
    batch_policy: BatchPolicy = "greedy"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are kept, and how much may be used.

    Attributes:
        home: what the user named and wants to keep (saved contexts).
        cache: what can be made again (compiled components, kernels).
        model: the Hugging Face directory of the model that programs get unless they ask for another.
        weights, backend, kv_cache, kv_pages, host_pages, max_batch_tokens, prompt_step_ms, batch_policy: of that model,
            see `ModelSettings`.
        more_models: those served beside it.
        limits: what one process may use.
        programs: the folder whose programs may be launched by programs, by name; None is none.
        mcp_servers: the MCP servers that programs may connect to.
        allowed_hosts: what programs may reach by HTTP, such as example.com:8443; none unless named.
    """

    home: Path
    cache: Path
    model: Path
    weights: Literal["original", "int8", "int4"] = "original"
    backend: BackendChoice = "auto"
    kv_cache: KVCacheChoice = "model"
    kv_pages: int | None = None
    host_pages: int | None = None
    max_batch_tokens: int = 512
    prompt_step_ms: float = 200.0
    batch_policy: BatchPolicy = "greedy"
    more_models: tuple[ModelSettings, ...] = ()
    limits: ProcessLimits = ProcessLimits()
    programs: Path | None = None
    mcp_servers: tuple[McpServer, ...] = ()
    allowed_hosts: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[ModelSettings, ...]:
        """All models, the one that programs get by default first."""
        first = ModelSettings(
            self.model,
            weights=self.weights,
            backend=self.backend,
            kv_cache=self.kv_cache,
            kv_pages=self.kv_pages,
            host_pages=self.host_pages,
            max_batch_tokens=self.max_batch_tokens,
            prompt_step_ms=self.prompt_step_ms,
            batch_policy=self.batch_policy,
        )
        return (first, *self.more_models)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, model: Path | None = None, **chosen: Any) -> Settings:
        """Read PIE_HOME (default ~/.pie) and PIE_CACHE (default $XDG_CACHE_HOME/pie or ~/.cache/pie).

        Args:
            environ: the environment.
            model: the model's directory; None is the embedded model.
            chosen: other settings by name; None leaves the default.

        Raises:
            UsageError: `no-home`.
        """
        home = pie_home(environ)
        cache = Path(environ.get("PIE_CACHE") or _cache_root(environ) / "pie")
        given = {name: value for name, value in chosen.items() if value is not None}
        return cls(home=home, cache=expand(cache), model=expand(model or embedded_model()), **given)


@dataclass(frozen=True, slots=True)
class Hub:
    """Where models by name are: the cache of the Hugging Face tools, and the hub that fills it.

    Attributes:
        cache: the folder of the cache.
        endpoint: address of the hub; asked by `pie model download` alone.
    """

    cache: Path
    endpoint: str = DEFAULT_ENDPOINT

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Hub:
        """Read HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HF_ENDPOINT, as the Hugging Face tools do.

        Raises:
            UsageError: `no-home`.
        """
        named = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
        home = environ.get("HF_HOME")
        cache = Path(named) if named else Path(home or _cache_root(environ) / "huggingface") / "hub"
        endpoint = (environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
        return cls(expand(cache), endpoint)


def embedded_model() -> Path:
    """The directory of the model that ships with the package."""
    return Path(__file__).parent / "data" / "embedded_model"


def expand(path: Path | str) -> Path:
    """A path whose `~` stands for a home directory; as it is if there is no such user, for whom it is then missing."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def pie_home(environ: Mapping[str, str]) -> Path:
    """The folder of what is kept: PIE_HOME, or ~/.pie; raises UsageError(`no-home`)."""
    named = environ.get("PIE_HOME")
    return expand(named) if named else _home() / ".pie"


def _cache_root(environ: Mapping[str, str]) -> Path:
    named = environ.get("XDG_CACHE_HOME")
    return Path(named) if named else _home() / ".cache"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise UsageError(
            "no-home",
            "this user has no home directory, and HOME is not set",
            remedy="Set HOME, or PIE_HOME, PIE_CACHE and HF_HOME.",
        ) from None
