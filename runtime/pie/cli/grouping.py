"""Groups of commands, which tell the nearest name for a wrong one."""

from __future__ import annotations

import difflib

import click

__all__ = ["Group"]


class Group(click.Group):
    """As click's; without a command it shows its help, and a typo is told the nearest name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; without any word, show the help."""
        if not (args or self.invoke_without_command or ctx.resilient_parsing):
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name in the error for a typo."""
        name, names = args[0] if args else "", self.list_commands(ctx)
        if args and name not in names and not name.startswith("-"):
            near = difflib.get_close_matches(name, names, n=1)
            path = ctx.command_path
            hint = f" Did you mean `{path} {near[0]}`?" if near else f" `{path} --help` lists the commands."
            raise click.UsageError(f"no command is called {name!r}.{hint}")
        return super().resolve_command(ctx, args)
