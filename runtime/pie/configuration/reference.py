"""docs/configuration.md, made of the table of keys."""

from __future__ import annotations

from itertools import groupby

from pie.configuration.keys import KEYS, Key

__all__ = ["reference"]

INTRODUCTION = """\
# Configuration

Everything has a default; a file is not needed. A value is looked for in this order: flags of the command, environment
variables, the file, the default. The file is `config.toml` in PIE_HOME (`~/.pie` unless set), or the one that
PIE_CONFIG names. A key that is not in these tables is an error, which tells the nearest name.

```sh
pie config init                      # writes the file, with every key and its default in it as comments
pie config set server.port 9000      # changes one key and leaves the rest of the file as it is
pie config show                      # what holds, and where each value is from
```

Two folders are named by the environment alone: PIE_HOME holds what you named and want to keep (saved contexts,
adapters, programs, keys), PIE_CACHE (`~/.cache/pie` unless set) what can be made again. In the environment,
a list is separated by commas and a switch is true or false. Paths in the file start from the folder of the file.

This page is printed by `pie config reference`.
"""

TABLES = """\
## [models.NAME]

Each table is a model that is served beside the one of `[model]`, and has the same keys; `path` must be given. Programs
get the one of `[model]` unless they load another by its name.

## [mcp.NAME]

Each table names a server of the Model Context Protocol that programs may use, as `--mcp` does.

| key | holds | default | meaning |
|---|---|---|---|
| `command` | a list of texts | | Starts the server, which speaks over its stdin and stdout. |
| `url` | a text | | Where the server answers streamable HTTP; a table has a command or a url. |
| `env` | a table of texts | | Variables of the command. |
| `headers` | a table of texts | | Headers of each HTTP request. |
| `timeout_s` | a number up to 3600 | `60` | For connecting, and for each request, in seconds. |

## [[route]]

Each table lets an installed program that answers HTTP requests do so at a path of the server's own
port, as `pie serve --route PATH=PROGRAM` does. See [serving](serving.md#daemons).

| key | holds | default | meaning |
|---|---|---|---|
| `path` | a text | | Such as `/answers`; the program answers there and at all paths below. |
| `program` | a text | | Its name, of which the newest version answers, or `name@version`. |
| `surface` | a text | | What a program with `main` is served as, such as `chat-completions`; see [HTTP](http.md). |
| `on_disconnect` | `continue` or `cancel` | | What a surface does when its client leaves; see [HTTP](http.md). |
"""


def reference() -> str:
    """The whole page, as Markdown."""
    parts = [INTRODUCTION]
    for section, keys in groupby(KEYS, key=lambda key: key.name.partition(".")[0]):
        rows = [_row(key) for key in keys]
        head = "| key | variable | holds | default | meaning |\n|---|---|---|---|---|"
        parts.append("\n".join([f"## [{section}]", "", head, *rows, ""]))
    return "\n".join([*parts, TABLES])


def _row(key: Key) -> str:
    word = key.name.partition(".")[2]
    return f"| `{word}` | `{key.variable}` | {key.holds()} | {_default(key)} | {key.meaning} |"


def _default(key: Key) -> str:
    """The default as the page shows it; empty if it is decided later."""
    match key.default:
        case None:
            return ""
        case bool():
            return f"`{str(key.default).lower()}`"
        case float():
            return f"`{key.default:g}`"
        case _:
            return f"`{key.default}`"
