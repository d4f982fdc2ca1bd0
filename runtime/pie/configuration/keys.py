"""Every configuration key: its name, what it holds, its default and its meaning. The only list of them.

The file, the environment, `pie config` and docs/configuration.md are all made from this table.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from pie.config import expand
from pie.errors import UsageError

__all__ = ["KEYS", "Key", "Unfit", "Value", "find_key", "nearest", "unknown_key"]

Kind = Literal["integer", "number", "text", "switch", "path", "model", "list"]
Value = int | float | str | bool | list[str] | None
_NAMES: dict[Kind, str] = {
    "integer": "a whole number",
    "number": "a number",
    "text": "a text",
    "switch": "true or false",
    "path": "a path",
    "model": "a directory or a name",
    "list": "a list of texts",
}


class Unfit(Exception):
    """A value that a key cannot have; the text says why, to follow the key's name."""


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key.

    Attributes:
        name: section and name, such as `server.port`.
        kind: what it holds.
        default: what holds unless it is given; None is "decided when it is needed", as the meaning says.
        meaning: one sentence.
        minimum: the smallest number.
        maximum: the largest number.
        choices: the texts that may be given; empty is any.
    """

    name: str
    kind: Kind
    default: Value
    meaning: str
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "PIE_" + self.name.upper().replace(".", "_")

    def holds(self) -> str:
        """What it may hold, for people."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        text = _NAMES[self.kind]
        if self.minimum > -math.inf and self.maximum < math.inf:
            return f"{text} from {self.minimum:g} to {self.maximum:.12g}"
        return f"{text} from {self.minimum:g}" if self.minimum > -math.inf else text

    def check(self, value: Any) -> Value:
        """The value as it is kept, if the key may have it.

        Args:
            value: as TOML or a flag gives it.

        Raises:
            Unfit: it may not.
        """
        if not self._is_of_kind(value) or (self.choices and value not in self.choices):
            raise Unfit(f"is {_shown(value)}, not {self.holds()}")
        if self.kind == "path" or (self.kind == "model" and value.startswith("~")):
            return str(expand(value))
        if self.kind == "number":
            return float(value)
        kept: Value = list(value) if self.kind == "list" else value
        return kept

    def parse(self, text: str) -> Value:
        """The value that a text stands for, as in the environment; a list is separated by commas.

        Raises:
            Unfit: the key cannot have it.
        """
        return self.check(self._read(text.strip()))

    def _read(self, text: str) -> Any:
        if self.kind == "list":
            return [word.strip() for word in text.split(",") if word.strip()]
        if self.kind == "switch":
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
                text.lower(), text
            )
        if self.kind not in ("integer", "number"):
            return text
        try:
            return int(text) if self.kind == "integer" else float(text)
        except ValueError:
            return text

    def _is_of_kind(self, value: Any) -> bool:
        match self.kind:
            case "integer":
                fits = isinstance(value, int) and not isinstance(value, bool)
            case "number":
                fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            case "switch":
                fits = isinstance(value, bool)
            case "list":
                return isinstance(value, list) and all(isinstance(item, str) and item for item in value)
            case _:
                return isinstance(value, str) and bool(value) and "\0" not in value
        return fits and self.minimum <= value <= self.maximum


KEYS: tuple[Key, ...] = (
    Key("server.host", "text", "127.0.0.1", "Address to listen on; anything but loopback needs server.auth."),
    Key("server.port", "integer", 8080, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65535),
    Key("server.auth", "switch", default=True, meaning="Clients must prove who they are, by a key or a token."),
    Key("server.allowed_origins", "list", [], "Web pages that may connect, such as https://example.com."),
    Key("server.allowed_host_names", "list", [], "Names by which this server is reached, beside the address itself."),
    Key("server.max_connections", "integer", 512, "Client connections at a time.", minimum=1),
    Key("server.max_processes", "integer", 2048, "Programs that run at a time.", minimum=1),
    Key("server.max_processes_per_user", "integer", 2048, "Programs of one user that run at a time.", minimum=1),
    Key("server.max_upload_mb", "integer", 64, "Largest upload, in MiB.", minimum=1, maximum=4096),
    Key("server.grace_s", "number", 30, "How long programs may go on after SIGTERM, in seconds.", minimum=0),
    Key(
        "server.vllm_metrics",
        "switch",
        default=False,
        meaning="/metrics tells what vLLM has too under its names as well.",
    ),
    Key(
        "server.log_level",
        "text",
        "info",
        "What is logged: this and what is graver.",
        choices=("debug", "info", "warning", "error"),
    ),
    Key("server.log_format", "text", "text", "How log lines are written.", choices=("text", "json")),
    Key("tasks.port", "integer", None, "A second port, for tasks alone; 0 takes a free one.", minimum=0, maximum=65535),
    Key("tasks.max_running", "integer", 16, "Tasks that run at a time.", minimum=1),
    Key("tasks.max_waiting", "integer", 10_000, "Tasks that wait and run at a time.", minimum=1),
    Key("tasks.max_waiting_per_user", "integer", 2000, "Tasks of one user that wait and run at a time.", minimum=1),
    Key("tasks.max_kept", "integer", 10_000, "Finished tasks that are kept, the newest.", minimum=0),
    Key("tasks.kept_days", "number", 7, "How long finished tasks are kept, in days.", minimum=0),
    Key(
        "model.path",
        "model",
        None,
        "A Hugging Face model directory, or ORG/NAME[@REVISION] of a downloaded one; the embedded model unless given.",
    ),
    Key(
        "model.weights",
        "text",
        "original",
        "How the matrices of the model are kept: as its files have them, or in 8 or 4 bits.",
        choices=("original", "int8", "int4"),
    ),
    Key(
        "model.backend",
        "text",
        "auto",
        "What computes: flashinfer on a GPU, our kernels on the processor, or torch; auto takes the first that can.",
        choices=("auto", "flashinfer", "native", "torch"),
    ),
    Key(
        "model.kv_cache",
        "text",
        "model",
        "How keys and values are kept: in the model's number type, or in 8 bits.",
        choices=("model", "fp8"),
    ),
    Key("model.kv_pages", "integer", None, "Pages of the KV cache; sized from free memory unless given.", minimum=1),
    Key(
        "model.host_pages",
        "integer",
        None,
        "Pages of host memory for suspended contexts and evicted prefixes; else half of the KV pages, if they fit.",
        minimum=0,
    ),
    Key("model.max_batch_tokens", "integer", 512, "Tokens of one step at most.", minimum=4),
    Key(
        "model.prompt_step_ms",
        "number",
        200,
        "How long a step with prompts may last while generations run, about, in milliseconds.",
        minimum=1,
    ),
    Key(
        "model.batch_policy",
        "text",
        "greedy",
        "Whether a step waits for more requests: never, for as many as lately, or for as many as in the last step.",
        choices=("greedy", "adaptive", "eager"),
    ),
    Key("limits.memory_mb", "integer", 512, "Memory of one program, in MiB.", minimum=16, maximum=4096),
    Key("limits.spin_s", "number", 10, "CPU of one program without a host call, in seconds.", minimum=0.1),
    Key("limits.cpu_s", "number", None, "CPU of one program in all, in seconds; unlimited unless given.", minimum=0.1),
    Key("limits.scratch_mb", "integer", 256, "Files of one program under /scratch, in MiB.", minimum=0),
    Key("limits.children", "integer", 64, "Programs that one program may launch, at a time.", minimum=0),
    Key(
        "limits.requests_per_minute",
        "integer",
        None,
        "HTTP requests of one user in a minute; unlimited unless given.",
        minimum=1,
        maximum=1_000_000_000,
    ),
    Key(
        "limits.tokens_per_minute",
        "integer",
        None,
        "Tokens of the prompts and answers of one user in a minute; unlimited unless given.",
        minimum=1,
        maximum=1_000_000_000,
    ),
    Key(
        "limits.concurrent_requests",
        "integer",
        None,
        "HTTP requests of one user that are answered at a time; unlimited unless given.",
        minimum=1,
        maximum=1_000_000_000,
    ),
    Key(
        "programs.folder",
        "path",
        None,
        "Folder whose programs may be launched by programs; that of the program unless given.",
    ),
    Key("http.allowed_hosts", "list", [], "Hosts that programs may send HTTP requests to, such as example.com:8443."),
)
_BY_NAME = {key.name: key for key in KEYS}


def find_key(name: str) -> Key:
    """The key of a name.

    Raises:
        UsageError: `unknown-setting`, with the nearest name.
    """
    if name not in _BY_NAME:
        raise unknown_key(name, "", _BY_NAME)
    return _BY_NAME[name]


def unknown_key(name: str, place: str, known: Collection[str]) -> UsageError:
    """The error for a name that is no key.

    Args:
        name: what was given.
        place: where, to stand in front; may be empty.
        known: the names that would have been right there.
    """
    near = nearest(name, known)
    remedy = f"Did you mean {near}?" if near else "`pie config keys` lists what there is."
    where = f"{place}: " if place else ""
    return UsageError("unknown-setting", f"{where}there is no setting {name}", remedy=remedy)


def nearest(name: str, known: Collection[str]) -> str:
    """The name that was most probably meant; empty if none is near."""
    return next(iter(difflib.get_close_matches(name, known, n=1)), "")


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."
