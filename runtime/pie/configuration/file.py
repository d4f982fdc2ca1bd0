"""The configuration file: written afresh with every key commented out, and changed key by key, comments kept."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pie.configuration.keys import KEYS, Key, Unfit, Value
from pie.configuration.reading import read_configuration_file
from pie.durable import make_folder, replace_file
from pie.errors import UsageError

__all__ = ["set_in_file", "template", "write_file"]

HEADER = """\
# Configuration of Pie. A line that begins with # is not in force; it shows the default.
# Environment variables such as PIE_SERVER_PORT, and flags, win over what is set here.
"""
MCP_EXAMPLE = """
# More models, served beside the one above; programs load them by name.
# [models.large]
# path = "models/large"

# MCP servers that programs may use, one table each: a command, or a url.
# [mcp.files]
# command = ["python", "server.py"]

# Installed programs that answer HTTP requests at paths of the server's own port.
# [[route]]
# path = "/answers"
# program = "http-answers"
"""


def template() -> str:
    """A file in which every key stands with its meaning and its default, commented out."""
    parts = [HEADER]
    for section, keys in groupby(KEYS, key=lambda key: key.name.partition(".")[0]):
        parts.append(f"\n[{section}]\n")
        parts += [f"# {key.meaning}\n# {_line(key)}\n" for key in keys]
    return "".join([*parts, MCP_EXAMPLE])


def set_in_file(path: Path, key: Key, text: str) -> Value:
    """Set a key in a file, which is made if there is none; everything else in it stays as it is.

    Args:
        path: the file.
        key: what to set.
        text: its value, as in the environment.

    Returns:
        The value that was set.

    Raises:
        UsageError: `bad-setting` if the key cannot have the value, or the file is wrong already.
    """
    try:
        value = key.parse(text)
    except Unfit as error:
        raise UsageError("bad-setting", f"{key.name} {error}", remedy=f"Give it {key.holds()}.") from None
    read_configuration_file(path)  # a file that is wrong is not made longer
    content = path.read_text(encoding="utf-8") if path.exists() else template()
    try:
        document = tomlkit.parse(content)
        section, _, word = key.name.partition(".")
        document.setdefault(section, tomlkit.table())[word] = value
        write_file(path, tomlkit.dumps(document))
    except TOMLKitError as error:
        raise UsageError("bad-configuration", f"{path}: {error}", remedy="Mend the file by hand.") from None
    return value


def write_file(path: Path, content: str) -> None:
    """Write the whole file."""
    make_folder(path.parent)
    replace_file(path, content.encode())


def _line(key: Key) -> str:
    word = key.name.partition(".")[2]
    return f"{word} = {tomlkit.item(key.default).as_string()}" if key.default is not None else f"{word} ="
