"""The log of a server: one line per event on stderr, as text or as JSON. Never what programs or their clients say.

Whoever logs gives figures and names as `extra`, under the key `facts`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

__all__ = ["LEVELS", "set_up_logging"]

LEVELS = ("debug", "info", "warning", "error")
_QUIET = ("uvicorn", "websockets", "asyncio", "mcp")


def set_up_logging(*, form: str, level: str, stream: TextIO = sys.stderr) -> None:
    """Send what is logged to a stream.

    Args:
        form: text or json.
        level: one of `LEVELS`.
        stream: where lines go.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLines() if form == "json" else _TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:  # their details are of no use to an operator
        logging.getLogger(name).setLevel(logging.WARNING)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        line = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        line |= {"message": record.getMessage(), **getattr(record, "facts", {})}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Time, level, message and facts."""
        facts = "".join(f" {name}={value}" for name, value in getattr(record, "facts", {}).items())
        text = f"{_time(record)} {record.levelname.lower()} {record.getMessage()}{facts}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
