"""`pie serve`: one server that stays, for the sessions of many clients."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from pie.cli.completing import models
from pie.cli.interrupt import Interrupt
from pie.cli.terminal import Progress
from pie.config import Settings

if TYPE_CHECKING:
    from pie.server.server import Server
    from pie.server.settings import ServerSettings

__all__ = ["command"]


log = logging.getLogger(__name__)

FLAGS = {
    "server.host": "host",
    "server.port": "port",
    "tasks.port": "tasks_port",
    "model.path": "model",
    "model.weights": "weights",
}
"""Options that win over a configuration key."""


@click.command("serve", short_help="Serve clients until it is stopped.")
@click.option("--host", help="The address to listen at (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="The port (8080); 0 takes a free one.")
@click.option("--tasks-port", type=click.IntRange(0, 65535), help="A second port, for tasks alone; 0 takes a free one.")
@click.option(
    "--model", metavar="DIR|NAME", shell_complete=models, help="A model directory, or a name of `pie model list`."
)
@click.option("--weights", metavar="original|int8|int4", help="How the matrices of the model are kept (original).")
@click.option(
    "--route", "routes", multiple=True, metavar="PATH=PROGRAM", help="Let an installed program answer at PATH."
)
@click.option("--no-auth", is_flag=True, help="Let everybody in; on loopback addresses only.")
@click.option("--debug", is_flag=True, help="Show tracebacks, also those of the programs of failed tasks to clients.")
@click.pass_obj
def command(shows_all: bool, /, *, debug: bool, no_auth: bool, routes: tuple[str, ...], **options: Any) -> int:  # noqa: FBT001 (click's call)
    """Serve clients until it is stopped.

    Clients connect with a WebSocket, upload and launch programs, talk to them, leave and come back. The first Ctrl-C or
    SIGTERM lets processes finish, a second one ends everything at once. `pie config show` tells all settings.

    \b
    Examples:
      pie serve
      pie serve --port 9000 --model ~/models/Qwen3-0.6B
      pie serve --model Qwen/Qwen3-0.6B
      pie serve --no-auth --debug
      pie serve --route /answers=http-answers
    """
    from pie.configuration.configuration import load_configuration
    from pie.configuration.routes import check_routes, read_route
    from pie.server.limits import Limits
    from pie.server.logs import set_up_logging
    from pie.server.settings import ServerSettings
    from pie.server.tasks.settings import DAY_S, TaskSettings

    flags = {key: options[option] for key, option in FLAGS.items()}
    configuration = load_configuration(os.environ, flags | {"server.auth": False if no_auth else None})
    chosen = ServerSettings(
        host=configuration["server.host"],
        port=configuration["server.port"],
        authentication=configuration["server.auth"],
        host_names=tuple(configuration["server.allowed_host_names"]),
        allowed_origins=tuple(configuration["server.allowed_origins"]),
        max_connections=configuration["server.max_connections"],
        max_upload_bytes=configuration["server.max_upload_mb"] << 20,
        max_processes=configuration["server.max_processes"],
        max_processes_per_user=configuration["server.max_processes_per_user"],
        limits=Limits(
            requests_per_minute=configuration["limits.requests_per_minute"],
            tokens_per_minute=configuration["limits.tokens_per_minute"],
            concurrent_requests=configuration["limits.concurrent_requests"],
        ),
        vllm_metrics=configuration["server.vllm_metrics"],
        routes=check_routes((*configuration.routes, *map(read_route, routes))),
        tasks=TaskSettings(
            port=configuration["tasks.port"],
            max_running=configuration["tasks.max_running"],
            max_waiting=configuration["tasks.max_waiting"],
            max_waiting_per_user=configuration["tasks.max_waiting_per_user"],
            max_kept=configuration["tasks.max_kept"],
            kept_s=configuration["tasks.kept_days"] * DAY_S,
        ),
        debug=debug or shows_all,
        grace_s=configuration["server.grace_s"],
    )
    set_up_logging(form=configuration["server.log_format"], level=configuration["server.log_level"])
    return asyncio.run(_serve(configuration.settings(os.environ), chosen))


async def _serve(settings: Settings, chosen: ServerSettings) -> int:
    loop, task, stopped = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
    if task is None:
        raise RuntimeError("needs a running task")
    end: list[Callable[[], object]] = [task.cancel]  # the last one holds: what is not ready is given up at once
    with Interrupt(lambda: loop.call_soon_threadsafe(end[-1])) as interrupt, Progress() as progress:
        try:
            async with _ready(settings, chosen, progress) as server:
                end.append(stopped.set)
                if interrupt.code is None:
                    await stopped.wait()
                await server.drain()
        except asyncio.CancelledError:
            if interrupt.code is None:
                raise
            return interrupt.code
    return 0


@asynccontextmanager
async def _ready(settings: Settings, chosen: ServerSettings, progress: Progress) -> AsyncIterator[Server]:
    """A server that is ready, after it has said so; it answers before, and says that it is not ready."""
    progress("Loading the runtime")
    from pie.runtime import Runtime
    from pie.server.listening import authority_of, listen_at
    from pie.server.server import listen, serve

    async with AsyncExitStack() as stack:
        listening = stack.enter_context(listen(chosen))  # before the model is loaded: a busy port is told at once
        tasks_port = chosen.tasks.port
        second = None if tasks_port is None else stack.enter_context(listen_at(chosen.host, tasks_port))
        runtime = await stack.enter_async_context(Runtime(settings, in_background=True))
        server = await stack.enter_async_context(
            serve(runtime, chosen, listening, home=settings.home, tasks_listening=second)
        )
        facts = {"url": server.url, "models": ",".join(runtime.models.names)}
        log.info("listening, and loading models", extra={"facts": facts})
        await _prepare(server, progress)
        token = f" (token in {server.token_file})" if server.token_file is not None else ""
        print(f"Serving {', '.join(runtime.models)} at {server.url}{token}", flush=True)
        if second is not None:
            print(f"Tasks at http://{authority_of(chosen.host)}:{second.getsockname()[1]}", flush=True)
        yield server


async def _prepare(server: Server, progress: Progress) -> None:
    """Wait until the models are loaded, and the runner of programs is made."""
    service = server.service
    service.is_starting = True
    progress("Loading the model")
    await service.runtime.loaded()
    await service.runtime.programs.runner(progress)
    service.is_starting = False
    progress.finish()
