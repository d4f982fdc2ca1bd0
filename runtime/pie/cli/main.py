"""`pie`: finds the command, runs it, and turns whatever goes wrong into one line and an exit code.

Exit codes: 0 the command did what it was asked; 1 it failed; 130 Ctrl-C ended it, 143 SIGTERM.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NoReturn

import click

from pie import __version__
from pie.cli.grouping import Group
from pie.cli.signals import Signals
from pie.errors import PieError

__all__ = ["COMMANDS", "SECTIONS", "main"]

SECTIONS = {
    "Run": {
        "run": ("pie.cli.run", "Run a program beside the model."),
        "ps": ("pie.cli.ps", "List your processes on a running server."),
        "attach": ("pie.cli.attach", "Listen to a process, and talk to it."),
        "logs": ("pie.cli.logs", "Show what a process has said."),
        "send": ("pie.cli.send", "Give a text or a file to a process."),
        "stop": ("pie.cli.stop", "End processes on a running server."),
    },
    "Programs": {
        "new": ("pie.cli.new", "Start a program from a template."),
        "check": ("pie.cli.check", "See whether a program could run, without running it."),
        "build": ("pie.cli.build", "Build a folder into one WASM component."),
        "install": ("pie.cli.install", "Install a program, to run it by its name."),
        "list": ("pie.cli.list", "List the installed programs."),
        "remove": ("pie.cli.remove", "Remove an installed program."),
        "publish": ("pie.cli.publish", "Put a program into a registry."),
    },
    "Server": {
        "serve": ("pie.cli.serve", "Serve clients until it is stopped."),
        "auth": ("pie.cli.auth", "Say who may come in to your server."),
    },
    "Models and state": {
        "model": ("pie.cli.model", "List, download, inspect and remove models."),
        "adapter": ("pie.cli.adapter", "List, import and remove adapters."),
        "snapshot": ("pie.cli.snapshot", "List and remove saved contexts."),
    },
    "Setup": {
        "config": ("pie.cli.config", "Look at the configuration, and change it."),
        "doctor": ("pie.cli.doctor", "See what is missing, and how to get it."),
        "completion": ("pie.cli.completion", "Complete commands in your shell."),
        "reference": ("pie.cli.reference", "Print docs/command-line.md."),
        "version": ("pie.cli.version", "Show the versions of Pie and of what it stands on."),
    },
}
"""By what they are for: the module of each command, and what the list of commands says of it."""

COMMANDS = {name: row for section in SECTIONS.values() for name, row in section.items()}

IN_ORDER = frozenset({"attach", "logs", "run", "serve"})
"""Commands that take signals for themselves before there is anything to give back; until then one ends them at once."""


class Commands(Group):
    """Commands by name, each in a module of its own that is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing any of them."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


@click.command(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pie")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def pie(ctx: click.Context, *, debug: bool) -> None:
    """Run programs beside a language model.

    \b
    Examples:
      pie new hello && pie run hello
      pie run inferlets/text-completion -- --prompt "Hello"
    """
    ctx.obj = debug
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None, *, signals: Signals | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: the words after `pie`; None are those of the process.
        signals: those of the process, if it is ours alone.
    """
    signals = signals or Signals()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in own
    code = 0
    try:
        with nullcontext() if _name_of(own) in IN_ORDER else signals.raising():
            code = pie.main(arguments, prog_name="pie", standalone_mode=False) or 0
    except click.UsageError as error:
        _complain("usage", error.format_message(), "")
        code = 1
    except click.ClickException as error:
        _complain("usage", error.format_message(), "")
        code = 1
    except PieError as error:
        if debug and not hasattr(error, "traceback"):  # the program's own, if there is one, says more than ours
            traceback.print_exception(error)
        _complain(error.code, error.cause, error.remedy)
        code = 1
    except (click.Abort, KeyboardInterrupt):
        code = signals.code or 130
    except BrokenPipeError:  # the reader of our output has left: nothing to tell it
        code = 1
    except OSError as error:  # a full disk, a folder of somebody else
        if debug:
            traceback.print_exception(error)
        _complain("io-error", _what_failed(error), "Look at the rights and the free space of what is named.")
        code = 1
    _leave(code)


def _name_of(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if not word.startswith("-")), "")


def _complain(code: str, cause: str, remedy: str) -> None:
    line = f"error[{code}]: {cause}" if cause.endswith((".", "?")) else f"error[{code}]: {cause}."
    print(f"{line} {remedy}".rstrip(), file=sys.stderr)


def _what_failed(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def _leave(code: int) -> NoReturn:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # what could not be written is not tried again when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
