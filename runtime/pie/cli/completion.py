"""`pie completion`: the lines that make a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]

VARIABLE = "_PIE_COMPLETE"


@click.command("completion", short_help="Complete commands in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, *, shell: str) -> None:
    """Print what SHELL must read to complete commands and options with the Tab key.

    \b
    Examples:
      pie completion bash >> ~/.bashrc
      pie completion zsh >> ~/.zshrc
      pie completion fish > ~/.config/fish/completions/pie.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"completion for {shell} is not known")
    click.echo(found(ctx.find_root().command, {}, "pie", VARIABLE).source())
