"""JavaScript and TypeScript: programs into bundles, bundles into components."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from pie.build.componentize import TIMEOUT_S, WORLD
from pie.build.javascript_tools import JavaScriptTools
from pie.build.modules import MAX_BYTES
from pie.build.sources import Sources
from pie.build.tool import run_tool
from pie.build.world import exports_handler
from pie.errors import ProgramError

__all__ = ["bundle_program", "componentize_javascript", "exported_names"]

# Async functions become generators: promises that nobody looks at can then be told (see runner/rejections.ts).
TARGET = (
    "--platform=neutral",
    "--main-fields=module,main",
    "--target=es2022",
    "--supported:async-await=false",
    "--supported:async-generator=false",
    "--supported:for-await=false",
    "--log-level=error",
    "--log-limit=1",
    "--color=false",
)
# The modules that the runner provides (see runner/program.ts).
PROVIDED = ("inferlet", "node:fs/promises", "fs/promises")
MAP_COMMENT = "//# sourceMappingURL=data:application/json;base64,"
_FAILURE = re.compile(r"\[ERROR\] (?P<what>.*?)(?: \[[^\]]*\])?\n(?:\s*\n\s+(?P<place>\S.*?:\d+:\d+):\n)?")
_THROWN = re.compile(r"^Exception while evaluating top-level script\n(?:.*?:\d+:\d+ )?(?P<what>.*)$", re.MULTILINE)
_NOISE = re.compile(r"^\s*(at |node:|Node\.js |\^)|^\s*$")


def bundle_program(entry: Path, tools: JavaScriptTools) -> str:
    """The program whose `main` is in `entry`, as JSON for the runner: `{"entry": file, "bundle": text, "map": text}`.

    What it imports is included, packages of a `node_modules` beside it too; those of `PROVIDED` are the runner's.

    Raises:
        ProgramError: `bad-source` if it cannot be parsed or an import cannot be found; `program-too-large`.
    """
    outside = [f"--external:{name}" for name in PROVIDED]
    arguments = [entry.name, "--bundle", "--format=cjs", *TARGET, *outside, "--sourcemap=inline"]
    text, _, encoded = _esbuild(tools, arguments, entry.parent).rpartition(MAP_COMMENT)
    if len(text) > MAX_BYTES:
        raise ProgramError(
            "program-too-large",
            f"{entry} is more than {MAX_BYTES >> 20} MiB with all that it imports",
            remedy="Import less, or read data at run time.",
        )
    return json.dumps({"entry": entry.name, "bundle": text, "map": base64.b64decode(encoded).decode()})


def exported_names(entry: Path, tools: JavaScriptTools) -> frozenset[str]:
    """What the module `entry` exports, under whatever names and from wherever it has it.

    Raises:
        ProgramError: `bad-source`.
    """
    with tempfile.TemporaryDirectory(prefix="pie-exports-") as scratch:
        metafile = Path(scratch) / "metafile.json"
        # Only of ES modules does esbuild tell the exports.
        outside = [f"--external:{name}" for name in PROVIDED]
        arguments = [entry.name, "--bundle", "--format=esm", *TARGET, *outside, f"--metafile={metafile}"]
        _esbuild(tools, [*arguments, f"--outfile={Path(scratch) / 'bundle.js'}"], entry.parent)
        (output,) = json.loads(metafile.read_text())["outputs"].values()
    return frozenset(output["exports"])


def componentize_javascript(
    wit: Path,
    tools: JavaScriptTools,
    sources: Sources,
    *,
    output: Path,
    program: str | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Build a component of the runner's code for the world in `wit`.

    Args:
        wit: a folder that `write_world` made; files are made beside it.
        tools: the npm packages.
        sources: the SDK and the runner's code.
        output: the file to write, in the folder of `wit`.
        program: what `bundle_program` gave, to become part of the component; without one it is a runner.
        stop: another thread sets it to have the work given up.

    Raises:
        ProgramError: `build-failed` with the reason; `stopped`.
    """
    scratch = wit.parent
    node = tools.node()
    for folder in ("src", "runner"):
        shutil.copytree(sources.javascript / folder, scratch / folder)
    if program is not None:
        (scratch / "runner" / "program.json").write_text(program)
    module = (
        "runner/app.ts" if program is None else "runner/answering.ts" if exports_handler(wit) else "runner/built.ts"
    )
    arguments = [module, "--bundle", "--format=esm", *TARGET, "--outfile=component.js"]
    _esbuild(tools, [*arguments, "--alias:inferlet=./src/index.ts", "--external:pie:*", "--external:wasi:*"], scratch)
    features = ["-d", "http", "fetch-event"]  # the network is reached through the host's own interfaces only
    names = ["component.js", "-o", output.name, "--wit", wit.name, "--world-name", WORLD]
    status, text = run_tool(
        [node, str(tools.componentize), *names, *features],
        name="componentize-js",
        folder=scratch,
        env={"PATH": os.defpath, "HOME": str(scratch), "TMPDIR": str(scratch)},
        timeout_s=TIMEOUT_S,
        stop=stop,
    )
    if status != 0 or not output.is_file():
        raise ProgramError(
            "build-failed",
            _reason(text) or f"componentize-js ended with status {status}",
            remedy="A built program runs its top-level code once while it is built; mend what fails there.",
        )


def _reason(text: str) -> str:
    thrown = _THROWN.search(text)
    if thrown is not None:
        return thrown["what"]
    lines = [line.strip() for line in text.splitlines() if not _NOISE.match(line)]
    return lines[-1] if lines else ""


def _esbuild(tools: JavaScriptTools, arguments: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        [str(tools.esbuild), *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    if done.returncode != 0:
        match = _FAILURE.search(done.stderr)
        what = match["what"] if match else f"esbuild ended with status {done.returncode}"
        place = f"{match['place']}: " if match and match["place"] else ""
        raise ProgramError("bad-source", f"{place}{what}", remedy="Mend the line.")
    return done.stdout
