"""`pie run`: launch one program, show what it says, and leave with its outcome."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pie.cli.arguments import program_input
from pie.cli.completing import models, path_or_installed
from pie.cli.connecting import find_place, user_options
from pie.cli.interrupt import Interrupt
from pie.cli.printer import Printer
from pie.cli.showing import show
from pie.cli.stdin import read_stdin
from pie.cli.terminal import Progress
from pie.config import Settings

if TYPE_CHECKING:
    from pie.cli.target import Target

__all__ = ["command"]

FLAGS = {
    "model.path": "model",
    "model.weights": "weights",
    "model.kv_pages": "kv_pages",
    "limits.memory_mb": "memory_mb",
    "limits.spin_s": "spin_s",
    "limits.cpu_s": "cpu_s",
    "programs.folder": "programs",
}
"""Options that win over a configuration key."""
HERE_ONLY = (*FLAGS.values(), "seed", "allow_host", "mcp", "mcp_config")
"""Options that a running server does not take."""
SERVER = "--server"


class RunCommand(click.Command):
    """A command whose option `--server` may stand without a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; only an address is taken for the value of `--server`."""
        end = args.index("--") if "--" in args else len(args)
        own = [
            f"{SERVER}=" if word == SERVER and not following.startswith(("ws://", "wss://")) else word
            for word, following in zip(args[:end], [*args[1:end], ""], strict=True)
        ]
        return super().parse_args(ctx, [*own, *args[end:]])


@click.command("run", cls=RunCommand, short_help="Run a program beside the model.")
@click.argument("word", metavar="PATH|NAME[@VERSION]", shell_complete=path_or_installed)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- --key value ...]")
@click.option("--input", "input_json", metavar="JSON", help="The program's input; words after -- are added to it.")
@click.option(
    "--model", metavar="DIR|NAME", shell_complete=models, help="A model directory, or a name of `pie model list`."
)
@click.option("--weights", metavar="original|int8|int4", help="How the matrices of the model are kept (original).")
@click.option("--seed", type=int, help="Makes all sampling of the program repeatable.")
@click.option("--token-budget", type=click.IntRange(min=1), help="Tokens that it may put into its contexts, in all.")
@click.option("--memory-mb", type=click.IntRange(16, 4096), help="Memory of the program (512).")
@click.option("--spin-s", type=click.FloatRange(0.1), help="CPU without a host call (10).")
@click.option("--cpu-s", type=click.FloatRange(0.1), help="CPU in all; unlimited unless given.")
@click.option("--kv-pages", type=click.IntRange(1), help="Pages of the KV cache; sized from free memory unless given.")
@click.option(
    "--programs",
    type=click.Path(exists=True, file_okay=False),
    help="The folder whose programs PATH may launch by name; by default the one that PATH is in.",
)
@click.option(
    "--allow-host", multiple=True, metavar="HOST[:PORT]", help="PATH may send HTTP requests there; repeatable."
)
@click.option("--mcp", multiple=True, metavar="NAME=COMMAND|URL", help="An MCP server that PATH may use; repeatable.")
@click.option(
    "--mcp-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file of MCP servers: [NAME] with command or url, env, headers, timeout_s.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every event as one line of JSON.")
@click.option(SERVER, metavar="[URL]", help="Run on a running server; that of the configuration unless URL is given.")
@click.option("--detach", is_flag=True, help="With --server: print the id of the process, and leave it alone.")
@user_options
@click.pass_obj
def command(debug: bool, /, *, word: str, words: tuple[str, ...], **options: Any) -> int:  # noqa: FBT001 (click's call)
    """Run PATH, a main.py or main.ts, a folder with a Pie.toml, or a .wasm component, or the installed program NAME.

    Words after -- become the program's input: --max-tokens 5 is {"max_tokens": 5}. The program's output and its result
    go to stdout, everything else to stderr. Lines typed on stdin are the texts that session.receive() waits for.

    \b
    Examples:
      pie run main.py
      pie run inferlets/text-completion -- --prompt "Hello" --max-tokens 40
      pie install inferlets/chat && pie run chat
      pie run x.wasm --json --seed 7 --input '{"n": 3}'
      pie run --server hello
    """
    from pie.build.manifest import check_input
    from pie.cli.target import find_target
    from pie.configuration.configuration import load_configuration
    from pie.configuration.mcp import mcp_servers

    value = program_input(words, options["input_json"])
    if options["server"] is not None:
        return _run_on_server(word, value, options, debug=debug)
    if options["detach"] or options["user"] or options["key"]:
        raise click.UsageError("--detach, --user and --key go with --server.")
    target = find_target(word, Settings.from_environment(os.environ).home / "programs")
    if target.manifest is not None:
        check_input(target.manifest, value)
    flags = {key: options[option] for key, option in FLAGS.items()}
    configuration = load_configuration(os.environ, flags | {"http.allowed_hosts": list(options["allow_host"]) or None})
    servers = mcp_servers(options["mcp"], options["mcp_config"])
    launch = Launch(target, value, options["seed"], options["token_budget"])

    async def work(printer: Printer, progress: Progress, interrupt: Interrupt) -> None:
        settings = configuration.settings(os.environ, mcp_servers=servers)
        settings = replace(settings, programs=settings.programs or target.neighbours)
        await _run_program(launch, settings, printer, progress, interrupt)

    return asyncio.run(show(work, as_json=options["as_json"], debug=debug))


def _run_on_server(word: str, value: Any, options: dict[str, Any], *, debug: bool) -> int:
    from pie.cli.remote import Remote

    refused = [f"--{name.replace('_', '-')}" for name in HERE_ONLY if options[name] not in (None, ())]
    if refused:
        raise click.UsageError(f"{', '.join(refused)} cannot be given with --server: the server decides.")
    place = find_place(os.environ, server=options["server"], user=options["user"], key=options["key"])
    tools_dir = Settings.from_environment(os.environ).cache / "javascript"
    remote = Remote(place, word, value, options["token_budget"], tools_dir, options["detach"])
    return asyncio.run(show(remote, as_json=options["as_json"], debug=debug))


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run, its input, the seed of its random streams, and how many tokens it may spend."""

    target: Target
    value: Any
    seed: int | None
    token_budget: int | None


async def _run_program(
    launch: Launch, settings: Settings, printer: Printer, progress: Progress, interrupt: Interrupt
) -> None:
    progress("Loading the runtime")
    from pie.runtime import Runtime

    async with AsyncExitStack() as stack:
        with interrupt.raising():
            progress("Loading the model")
            runtime = await stack.enter_async_context(Runtime(settings, on_progress=progress))
        program = await runtime.load(launch.target.path, name=launch.target.name)
        progress.finish()
        process = runtime.launch(
            program,
            launch.value,
            listener=printer.event,
            seed=launch.seed,
            token_budget=launch.token_budget,
            on_receive=lambda: read_stdin(process.state.mailbox.deliver, process.state.mailbox.close),
        )
        printer.result(await process.outcome())
