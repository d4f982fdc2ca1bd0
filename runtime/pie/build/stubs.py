"""Type stubs of the bindings that programs see, for editors and type checkers.

componentize-py writes the bindings anew into each component, so they are not shipped. The stubs are made from what it
writes: only the declarations, in a stable form.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pie.build.componentize import bindings
from pie.build.runner import SOURCE_INTERFACE
from pie.build.sources import find_sources
from pie.build.world import HANDLER_INTERFACE, write_world

__all__ = ["render_stubs"]

_HEADER = "# Generated from wit/ by `python -m pie.build.stubs`; do not edit.\n# ruff: noqa\n# fmt: off\n"
_KEPT = ("componentize_py_types.py", "wit_world/imports/*.py")


def render_stubs() -> dict[str, str]:
    """The stub files by relative path, as they should be under `sdk/python/runner/stubs`.

    Raises:
        ProgramError: `sdk-missing`, `build-failed`.
    """
    with tempfile.TemporaryDirectory(prefix="pie-stubs-") as scratch:
        imports, exports = [SOURCE_INTERFACE], [HANDLER_INTERFACE]
        wit = write_world(Path(scratch) / "wit", find_sources(), name="runner", imports=imports, exports=exports)
        made = Path(scratch) / "bindings"
        bindings(wit, made)
        files = {path.relative_to(made): path.read_text() for pattern in _KEPT for path in sorted(made.glob(pattern))}
    stubs = {path.with_suffix(".pyi").as_posix(): _stub(text) for path, text in files.items()}
    return {**stubs, "wit_world/__init__.pyi": _HEADER}


def _stub(text: str) -> str:
    tree = _Declarations().visit(ast.parse(text))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    tree.body = list(_without_unused(tree.body, used))
    return _HEADER + ast.unparse(ast.fix_missing_locations(tree)) + "\n"


class _Declarations(ast.NodeTransformer):
    """Removes docstrings and bodies."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = [ast.Expr(ast.Constant(...))]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self.generic_visit(node)
        node.body = [s for s in node.body if not isinstance(s, ast.Pass)] or [ast.Expr(ast.Constant(...))]
        return node


def _without_unused(body: Iterable[ast.stmt], used: set[str]) -> Iterable[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            statement.names = [name for name in statement.names if (name.asname or name.name) in used]
            if not statement.names:
                continue
            if isinstance(statement, ast.ImportFrom) and statement.level:
                statement.module, statement.level = "wit_world.imports", 0
        yield statement


def _main() -> None:
    root = find_sources().runner.parent / "stubs"
    for path, text in render_stubs().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


if __name__ == "__main__":
    _main()
