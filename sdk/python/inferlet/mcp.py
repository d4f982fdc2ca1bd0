"""Servers of the Model Context Protocol that who runs the server has configured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Self

from componentize_py_types import Err
from wit_world.imports import client
from wit_world.imports import pie_mcp_types as wit_types

from inferlet.errors import Error

__all__ = ["McpError", "McpSession", "available_servers", "connect"]

P = ParamSpec("P")


class McpError(Error):
    """An error of the protocol.

    Attributes:
        number: as in JSON-RPC.
        data: whatever the server added, parsed; None if nothing.
    """

    def __init__(self, number: int, message: str, data: Any = None) -> None:
        super().__init__("mcp", f"{message} ({number})")
        self.number = number
        self.data = data


McpError.__module__ = "inferlet.mcp"


def available_servers() -> list[str]:
    """Names of the registered servers."""
    return list(client.available_servers())


def connect(name: str) -> McpSession:
    """Open a session with a server.

    Raises:
        McpError: there is no such server, or it does not answer.
    """
    try:
        return McpSession(client.connect(name))
    except Err as error:
        raise _error(error.value) from None


class McpSession:
    """A connection to one server. Results are the JSON texts of the protocol; calls block."""

    __slots__ = ("_handle",)

    def __init__(self, handle: client.Session) -> None:
        self._handle: client.Session | None = handle

    def list_tools(self) -> str:
        """Result of `tools/list`."""
        return _call(self._wit.list_tools)

    def call_tool(self, name: str, args: str | Mapping[str, Any]) -> str:
        """Result of `tools/call`; `args` is an object or its JSON."""
        return _call(self._wit.call_tool, name, _json(args))

    def list_resources(self) -> str:
        """Result of `resources/list`."""
        return _call(self._wit.list_resources)

    def read_resource(self, uri: str) -> str:
        """Result of `resources/read`."""
        return _call(self._wit.read_resource, uri)

    def list_prompts(self) -> str:
        """Result of `prompts/list`."""
        return _call(self._wit.list_prompts)

    def get_prompt(self, name: str, args: str | Mapping[str, Any]) -> str:
        """Result of `prompts/get`; `args` is an object or its JSON."""
        return _call(self._wit.get_prompt, name, _json(args))

    def close(self) -> None:
        """Close the connection; idempotent."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.__exit__(None, None, None)

    @property
    def _wit(self) -> client.Session:
        if self._handle is None:
            raise Error("released", "the session is used after it was closed")
        return self._handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _call(function: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> str:
    try:
        return function(*args, **kwargs)
    except Err as error:
        raise _error(error.value) from None


def _json(value: str | Mapping[str, Any]) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _error(error: wit_types.Error) -> McpError:
    return McpError(error.code, error.message, None if error.data is None else json.loads(error.data))
