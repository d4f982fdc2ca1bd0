"""The contract is the one that components built for Pie 0.4 link against, and the runner imports all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.wit.contract import WIT, expected, function_names, ours
from wasmtime import Config, Engine
from wasmtime.component import Component, ComponentInstanceType, FuncType

OURS_ALONE = {
    "pie:ext/wait",
    "pie:ext/generation",
    "pie:ext/turn",
    "pie:ext/sampling",
    "pie:ext/pages",
    "pie:ext/http",
    "pie:ext/source",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/poll",
}


ANSWERING = {"wasi:http/types", "wasi:http/incoming-handler", "wasi:io/streams", "wasi:io/error"}
"""WASI's own, of which wit/ holds what programs that answer HTTP requests need. Runners do not."""


@pytest.fixture(scope="session")
def runner_imports(runner_wasm: Path) -> dict[str, dict[str, list[str]]]:
    """Interface without version -> function -> parameter names."""
    config = Config()
    config.cranelift_opt_level = "none"
    engine = Engine(config)
    compiled = runner_wasm.with_suffix(".unoptimized")
    if not compiled.exists():
        compiled.write_bytes(Component.from_file(engine, str(runner_wasm)).serialize())
    imports = Component.deserialize_file(engine, str(compiled)).type.imports(engine)
    return {
        name.partition("@")[0]: {
            function: [parameter for parameter, _ in item.ty.params]
            for function, item in imported.ty.exports(engine).items()
            if isinstance(item.ty, FuncType)
        }
        for name, imported in imports.items()
        if isinstance(imported.ty, ComponentInstanceType)
    }


@pytest.mark.parametrize("interface", sorted(expected()))
def test_an_interface_has_exactly_the_names_and_types_of_the_list(interface: str) -> None:
    assert ours().get(interface) == expected()[interface]


def test_nothing_is_added_outside_of_our_own_package() -> None:
    assert set(ours()) - set(expected()) == OURS_ALONE | ANSWERING


def test_interfaces_of_ours_use_no_s64() -> None:
    # JavaScript toolchains mishandle negative ones.
    members = {member for interface in OURS_ALONE for member in ours()[interface]}
    assert not [member for member in members if "s64" in member]


def test_every_declaration_is_documented() -> None:
    bare = []
    for path in sorted(WIT.rglob("*.wit")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            declares = line.strip().startswith(("interface ", "resource ", "variant ", "record ", "enum ", "world "))
            declares = declares or "func(" in line or line.strip().startswith("constructor(")
            if declares and not lines[number - 1].strip().startswith("///"):
                bare.append(f"{path.relative_to(WIT)}:{number + 1}: {line.strip()}")
    assert not bare


def test_the_runner_imports_every_function_of_the_contract(runner_imports: dict[str, dict[str, list[str]]]) -> None:
    for interface, members in ours().items():
        if interface in ANSWERING:
            continue
        assert set(runner_imports.get(interface, {})) >= function_names(members), interface


def test_the_runner_imports_nothing_else_but_wasi(runner_imports: dict[str, dict[str, list[str]]]) -> None:
    assert {name for name in runner_imports if not name.startswith("wasi:")} <= set(ours())


def test_parameters_keep_their_names(runner_imports: dict[str, dict[str, list[str]]]) -> None:
    assert runner_imports["pie:core/model"]["[static]model.load"] == ["name"]
    assert runner_imports["pie:ext/wait"]["wait-many"] == ["waits", "timeout-us"]
    assert runner_imports["pie:zo/zo"]["adapter-seed"] == ["self", "seed"]
