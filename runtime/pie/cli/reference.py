"""`pie reference`: docs/command-line.md, made of the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

__all__ = ["command", "pages", "reference"]

INTRODUCTION = """\
# Command line

Every command and option of `pie`. `--help` behind any of them prints the same; `pie completion` makes a shell complete
them. A process may be named by the first characters of its id, a program by its name. The exit code is 0 if a command
did what it was asked, 1 if it failed, 130 after Ctrl-C and 143 after SIGTERM; an error is the last line on stderr, see
[errors](errors.md).

This page is printed by `pie reference`.
"""
EXAMPLES = re.compile(r"Examples?:\n")


@click.command("reference", short_help="Print docs/command-line.md.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Print the page about all commands, as Markdown.

    \b
    Example:
      pie reference > command-line.md
    """
    root = ctx.find_root()
    click.echo(reference(root), nl=False)


def reference(root: click.Context) -> str:
    """The page about all commands below `root`."""
    from pie.cli.main import SECTIONS

    parts = [INTRODUCTION]
    described = dict(pages(root))
    for section, names in SECTIONS.items():
        parts.append(f"\n## {section}\n")
        for name in names:
            parts += [
                _described(context)
                for path, context in described.items()
                if path == f"pie {name}" or path.startswith(f"pie {name} ")
            ]
    return "".join(parts)


def pages(context: click.Context) -> Iterator[tuple[str, click.Context]]:
    """Every command below a context, with the words that call it, each group before its commands."""
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if found is not None:
            inner = click.Context(found, info_name=name, parent=context)
            yield inner.command_path, inner
            yield from pages(inner)


def _described(context: click.Context) -> str:
    command = context.command
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    said, *examples = EXAMPLES.split(text)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"\n### {context.command_path}\n\n```\n{usage}\n```\n\n{_paragraphs(said)}\n"]
    rows = [_row(parameter, context) for parameter in command.params if isinstance(parameter, click.Option)]
    if rows:
        parts.append("\n| option | |\n|---|---|\n" + "".join(rows))
    for example in examples:
        parts.append(f"\n```sh\n{inspect.cleandoc(example)}\n```\n")
    return "".join(parts)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    if record is None:
        return ""
    names, meaning = (" ".join(part.split()).replace("|", "\\|") for part in record)
    return f"| `{names}` | {meaning} |\n"
