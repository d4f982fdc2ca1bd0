"""Where the contract, the SDK and the runner's code lie: in the repository, or inside the installed package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pie.errors import ProgramError

__all__ = ["Sources", "find_sources"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What programs are built from.

    Attributes:
        wit: the contract; `inferlet.wit` and the packages under `deps`.
        sdk: the Python package `inferlet`.
        runner: the Python package `pie_runner`.
        javascript: the npm package `inferlet`; the folders `src` and `runner`, and which tools make components of them.
        inferlets: programs of ours, a folder each; the server runs some of them.
    """

    wit: Path
    sdk: Path
    runner: Path
    javascript: Path
    inferlets: Path


def find_sources() -> Sources:
    """Find them.

    Raises:
        ProgramError: `sdk-missing` if this installation has none.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / "data", package.parents[1]):
        found = Sources(
            wit=root / "wit",
            sdk=root / "sdk" / "python" / "inferlet",
            runner=root / "sdk" / "python" / "runner" / "pie_runner",
            javascript=root / "sdk" / "javascript",
            inferlets=root / "inferlets",
        )
        if (found.wit / "inferlet.wit").is_file() and all(
            map(Path.is_dir, (found.sdk, found.runner, found.javascript, found.inferlets))
        ):
            return found
    raise ProgramError(
        "sdk-missing",
        f"neither {package / 'data'} nor {package.parents[1]} holds wit/ and sdk/",
        remedy="Install pie again.",
    )
