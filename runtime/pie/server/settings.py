"""What the server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pie.config import Route
from pie.server.limits import UNLIMITED, Limits
from pie.server.tasks.settings import TaskSettings

__all__ = ["ServerSettings"]

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where the server listens, whom it lets in, and how much it holds for them.

    Attributes:
        host: the address to listen at.
        port: the port; 0 takes a free one.
        authentication: whether clients must prove who they are; it can only be left out on a loopback address.
        users_file: the users' keys and tokens; None is the default place under PIE_HOME.
        host_names: names by which clients reach this server, beside localhost and addresses.
        allowed_origins: web pages whose scripts may connect, such as https://example.com.
        max_connections: clients at a time.
        max_upload_bytes: of one uploaded program or file.
        silent_s: how long a client may take nothing of what is sent to it.
        stalled_s: how long a step of a model may take before the server is not ready.
        max_processes: processes of all users at a time, those that answer requests among them.
        max_processes_per_user: processes of one user at a time.
        limits: of the HTTP requests of each user who has none of the user's own.
        vllm_metrics: whether `/metrics` tells what vLLM has too under its names as well.
        routes: programs that answer HTTP requests at paths of the server's port.
        tasks: bounds of tasks.
        debug: whether clients are shown the tracebacks of programs that answer them.
        grace_s: how long processes may go on after the first SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    authentication: bool = True
    users_file: Path | None = None
    host_names: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_connections: int = 512
    max_upload_bytes: int = 64 * MIB
    silent_s: float = 60.0
    stalled_s: float = 5.0
    max_processes: int = 2048
    max_processes_per_user: int = 2048
    limits: Limits = UNLIMITED
    vllm_metrics: bool = False
    routes: tuple[Route, ...] = ()
    tasks: TaskSettings = field(default_factory=TaskSettings)
    debug: bool = False
    grace_s: float = 30.0
