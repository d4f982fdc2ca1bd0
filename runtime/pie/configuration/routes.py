"""Routes as they are written: `--route PATH=PROGRAM`, and tables `[[route]]` of TOML."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from pie.config import Route
from pie.errors import UsageError

__all__ = ["check_routes", "convert_routes", "read_route"]

PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
PROGRAM = re.compile(r"[a-z][a-z0-9-]*(@[0-9A-Za-z.+-]+)?")
TAKEN = frozenset({"healthz", "readyz", "metrics"})
"""What the server itself answers at."""

SURFACES = ("chat-completions", "responses", "inference-chat", "completions", "embeddings")
"""What programs that have a `main` can be served as."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file: the fields of `pie.config.Route`."""

    path: str
    program: str
    surface: str | None = None
    on_disconnect: Literal["continue", "cancel"] | None = None


def read_route(word: str) -> Route:
    """The route of `--route PATH=PROGRAM`.

    Raises:
        UsageError: `bad-route`.
    """
    path, equals, program = word.partition("=")
    if not equals:
        raise _bad(f"--route {word!r} names no program")
    return _checked(Route(path, program), f"--route {word}")


def convert_routes(content: Any, file: Path) -> tuple[Route, ...]:
    """The routes of the tables `[[route]]`.

    Args:
        content: what TOML made of them.
        file: where they are from, for errors.

    Raises:
        UsageError: `bad-route`.
    """
    try:
        tables = msgspec.convert(content, list[_Table])
    except msgspec.ValidationError as error:
        raise _bad(f"{file}: {str(error).replace('`', '')}") from None
    routes = (Route(table.path, table.program, table.surface, table.on_disconnect) for table in tables)
    return check_routes(_checked(route, str(file)) for route in routes)


def check_routes(routes: Iterable[Route]) -> tuple[Route, ...]:
    """The same routes, each of which has a path of its own.

    Raises:
        UsageError: `bad-route`.
    """
    kept = tuple(routes)
    paths = [route.path for route in kept]
    for path in paths:
        if paths.count(path) > 1:
            raise _bad(f"{paths.count(path)} routes have the path {path}")
    return kept


def _checked(route: Route, place: str) -> Route:
    if not PATH.fullmatch(route.path):
        raise _bad(f"{place}: {route.path!r} is no path of a route")
    if route.path.split("/")[1] in TAKEN:
        raise _bad(f"{place}: the server itself answers at {route.path}")
    if not PROGRAM.fullmatch(route.program):
        raise _bad(f"{place}: {route.program!r} is no program")
    if route.surface is not None and route.surface not in SURFACES:
        raise _bad(f"{place}: {route.surface!r} is no surface, which is one of {', '.join(SURFACES)}")
    if route.on_disconnect is not None and route.surface is None:
        raise _bad(f"{place}: on_disconnect is for a route with a surface")
    return route


def _bad(cause: str) -> UsageError:
    remedy = (
        "Give each route a path such as /answers, without a slash at its end, and the name of an installed program."
    )
    return UsageError("bad-route", cause, remedy=remedy)
