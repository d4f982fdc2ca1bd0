"""The options that name MCP servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pie.config import McpServer
from pie.configuration.mcp import mcp_servers
from pie.errors import UsageError


def test_a_command_is_split_as_a_shell_would_and_an_address_is_taken_as_one() -> None:
    words = ["files=python 'my server.py' --root=/data", "docs=https://example.com/mcp?x=1"]
    assert mcp_servers(words, None) == (
        McpServer("files", command=("python", "my server.py", "--root=/data")),
        McpServer("docs", url="https://example.com/mcp?x=1"),
    )


def test_a_file_gives_all_fields(tmp_path: Path) -> None:
    file = tmp_path / "servers.toml"
    file.write_text(
        '[files]\ncommand = ["python", "server.py"]\nenv = {KEY = "k"}\ntimeout_s = 5\n'
        '[docs]\nurl = "http://127.0.0.1:9/mcp"\nheaders = {Authorization = "Bearer t"}\n'
    )
    files, docs, more = mcp_servers(["more=true"], file)
    assert files == McpServer("files", command=("python", "server.py"), env={"KEY": "k"}, timeout_s=5)
    assert docs == McpServer("docs", url="http://127.0.0.1:9/mcp", headers={"Authorization": "Bearer t"})
    assert more.name == "more"


@pytest.mark.parametrize(
    "word", ["files", "files=", "=python x", "../x=python", "a b=python", "files='python", "f=' '"]
)
def test_a_word_that_names_no_server_is_refused(word: str) -> None:
    with pytest.raises(UsageError) as refused:
        mcp_servers([word], None)
    assert refused.value.code == "bad-mcp-server"
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[files", "not TOML"),
        ("files = 3", "files"),
        ('[files]\ncomand = ["x"]', "comand"),
        ('[files]\ncommand = "x"', "array"),
        ("[files]", "command or a url"),
        ('[files]\ncommand = ["x"]\nurl = "http://x"', "command or a url"),
        ('[files]\nurl = "file:///etc/passwd"', "file:///etc/passwd"),
        ('[files]\ncommand = ["x"]\ntimeout_s = 0', "timeout_s"),
        ('[files]\ncommand = ["x"]\ntimeout_s = nan', "timeout_s"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_what_it_is(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "servers.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        mcp_servers([], file)
    assert refused.value.code == "bad-mcp-server"
    assert said in str(refused.value) or said == "files"
    assert str(file) in refused.value.cause or "files" in refused.value.cause


def test_a_name_is_given_once() -> None:
    with pytest.raises(UsageError, match="2 MCP servers called 'a'"):
        mcp_servers(["a=x", "a=y"], None)
