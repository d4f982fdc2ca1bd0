"""Reads the error codes out of the source, without running it.

A code is the first argument of an error (a `PieError` of the host, an `Error` of the SDK), mostly a literal. Where it
is a name, its literals are looked for where the name is set: in the function, in a table, or at the function's calls.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Raised", "Source", "read_sources"]

ROOT = Path(__file__).parents[2]
FOLDERS = ("runtime/pie", "sdk/python/inferlet", "sdk/python/runner/pie_runner", "sdk/client-python/pie_client")
ROOT_CLASSES = {
    "runtime/pie": "PieError",
    "sdk/python/inferlet": "Error",
    "sdk/python/runner/pie_runner": "Error",
    "sdk/client-python/pie_client": "ClientError",
}
TOLD = re.compile(r"([a-z][a-z0-9]*(?:-[a-z0-9]+)*): ")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Raised:
    """One place in the source that makes an error.

    Attributes:
        place: file and line.
        codes: the codes it may have; empty if it passes on the code of another error.
        cause, remedy: their expressions, None where there is none.
    """

    place: str
    codes: frozenset[str]
    cause: ast.expr | None = None
    remedy: ast.expr | None = None


class Source:
    """One parsed file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @property
    def root_class(self) -> str:
        """What errors here derive from."""
        return next(name for folder, name in ROOT_CLASSES.items() if self.path.is_relative_to(ROOT / folder))

    @cached_property
    def functions(self) -> dict[str, Function]:
        """All functions by name."""
        return {node.name: node for node in ast.walk(self.tree) if isinstance(node, Function)}

    def place(self, node: ast.expr) -> str:
        """File and line."""
        return f"{self.path.relative_to(ROOT)}:{node.lineno}"

    def enclosing(self, node: ast.AST, kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> ast.AST | None:
        """The innermost node of a kind around this one."""
        parent = self.parents.get(node)
        while parent is not None and not isinstance(parent, kind):
            parent = self.parents.get(parent)
        return parent

    def constant(self, name: str) -> ast.expr | None:
        """What a name is set to at the top of the module."""
        for node in self.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(node, ast.Assign | ast.AnnAssign):
                for target in targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        return node.value
        return None


def read_sources() -> list[Raised]:
    """Every place that makes an error, in all of the source."""
    sources = [Source(path) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    classes = {root: _subclasses(root, sources) for root in set(ROOT_CLASSES.values())}
    return [raised for source in sources for raised in _raised(source, classes[source.root_class])]


def _subclasses(root: str, sources: list[Source]) -> dict[str, bool]:
    """Error classes by name, and whether the first argument of each is its code."""
    definitions = [node for s in sources if s.root_class == root for node in ast.walk(s.tree)]
    classes = [node for node in definitions if isinstance(node, ast.ClassDef)]
    found = {root: True}
    while True:
        more = {
            node.name: _takes_code(node, inherited=found[base])
            for node in classes
            for base in map(_name, node.bases)
            if base in found and node.name not in found
        }
        if not more:
            return found
        found |= more


def _takes_code(node: ast.ClassDef, *, inherited: bool) -> bool:
    own = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    return own[0].args.args[1:2] != [] and own[0].args.args[1].arg == "code" if own else inherited


def _raised(source: Source, classes: dict[str, bool]) -> Iterator[Raised]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and node.args:
            if _makes_error(source, node, classes):
                remedy = next((word.value for word in node.keywords if word.arg == "remedy"), None)
                cause = node.args[1] if len(node.args) > 1 else None
                yield Raised(source.place(node), frozenset(_literals(source, node.args[0])), cause, remedy)
            elif _has_code_parameter(source, node):
                yield Raised(source.place(node), frozenset(_literals(source, node.args[0])))
            elif _name(node.func) == "Err":
                yield Raised(source.place(node), frozenset(_told(node.args[0])))
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            code = next((_text(value) for key, value in pairs if _text(key) == "code"), None)
            if code is not None:
                yield Raised(source.place(node), frozenset([code]))


def _makes_error(source: Source, node: ast.Call, classes: dict[str, bool]) -> bool:
    """Whether a call makes an error whose code is the first argument."""
    if isinstance(node.func, ast.Attribute) and node.func.attr == "__init__":
        around = source.enclosing(node, ast.ClassDef)
        bases = [_name(base) for base in around.bases] if isinstance(around, ast.ClassDef) else []
        return any(classes.get(base, False) for base in bases)
    is_clicks = isinstance(node.func, ast.Attribute) and _name(node.func.value) == "click"
    return not is_clicks and classes.get(_name(node.func), False)


def _has_code_parameter(source: Source, node: ast.Call) -> bool:
    """Whether the call is of a function of this file whose first parameter is `code: str`."""
    function = source.functions.get(_name(node.func))
    first = function.args.args[0] if function is not None and function.args.args else None
    return (
        first is not None and first.arg == "code" and first.annotation is not None and _name(first.annotation) == "str"
    )


def _literals(source: Source, value: ast.expr) -> set[str]:
    """The codes that an expression can be.

    Raises:
        ValueError: it is written in a way that is not foreseen here.
    """
    match value:
        case ast.Constant(value=str(code)):
            return {code}
        case ast.IfExp(body=body, orelse=orelse):
            return _literals(source, body) | _literals(source, orelse)
        case ast.Attribute(attr="code") | ast.Subscript(slice=ast.Constant(value="code")):
            return set()  # the code of another error, passed on
        case ast.Name(id=name):
            return _set_to(source, value, name)
    raise ValueError(f"{source.place(value)}: cannot tell the codes of {ast.unparse(value)}")


def _set_to(source: Source, value: ast.expr, name: str) -> set[str]:
    function = source.enclosing(value, (ast.FunctionDef, ast.AsyncFunctionDef))
    if not isinstance(function, Function):
        raise ValueError(f"{source.place(value)}: {name} is set outside of a function")
    parameters = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
    if name in parameters:
        return _passed(source, function, name)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            match node.targets[0], node.value:
                case ast.Name(id=target), given if target == name:
                    return _literals(source, given)
                case ast.Tuple(elts=[ast.Name(id=first), *_]), ast.Subscript(value=ast.Name(id=table)) if first == name:
                    return _first_of_each(source, table)
                case ast.Tuple(elts=[ast.Name(id=first), *_]), ast.Call(func=ast.Attribute(attr="partition")) if (
                    first == name
                ):
                    return set()  # cut from a text that the host has made
    raise ValueError(f"{source.place(value)}: cannot tell what {name} is set to")


def _passed(source: Source, function: Function, name: str) -> set[str]:
    """What the calls of a function in its own file give for a parameter."""
    names = [argument.arg for argument in function.args.args]
    codes: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _name(node.func) == function.name:
            given = [word.value for word in node.keywords if word.arg == name] or [node.args[names.index(name)]]
            codes |= _literals(source, given[0])
    return codes


def _first_of_each(source: Source, table: str) -> set[str]:
    """The first items of the tuples in a table at the top of the module."""
    value = source.constant(table)
    rows = value.values if isinstance(value, ast.Dict) else []
    tuples = [source.constant(row.id) if isinstance(row, ast.Name) else row for row in rows]
    return {code for row in tuples if isinstance(row, ast.Tuple) for code in _literals(source, row.elts[0])}


def _told(value: ast.expr) -> set[str]:
    """The code at the start of a text `code: cause`."""
    text = value.values[0] if isinstance(value, ast.JoinedStr) and value.values else value
    match = TOLD.match(_text(text) or "")
    return {match[1]} if match else set()


def _text(value: ast.expr | None) -> str | None:
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def _name(value: ast.expr) -> str:
    return value.id if isinstance(value, ast.Name) else value.attr if isinstance(value, ast.Attribute) else ""
