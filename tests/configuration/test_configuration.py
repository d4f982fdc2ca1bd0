"""What holds: defaults, the file, the environment and flags; and whatever is wrong is refused by name."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pie.config import Hub, Route, Settings, embedded_model
from pie.configuration.configuration import configuration_path, load_configuration
from pie.configuration.file import set_in_file, template, write_file
from pie.configuration.keys import KEYS, Key, Unfit, find_key
from pie.configuration.reference import reference
from pie.configuration.routes import check_routes, read_route
from pie.errors import ModelError, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def environ(file: Path, **variables: str) -> dict[str, str]:
    return {"PIE_HOME": str(file.parent), **variables}


def test_without_a_file_everything_is_at_its_default(file: Path) -> None:
    configuration = load_configuration(environ(file))
    assert {key.name: key.default for key in KEYS} == dict(configuration.values)
    assert set(configuration.origins.values()) == {"default"}


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UsageError, match=r"no-home: .* PIE_HOME, PIE_CACHE and HF_HOME"):
        configuration_path({})
    with pytest.raises(UsageError, match="no-home"):
        Settings.from_environment({"PIE_HOME": "/somewhere"})
    with pytest.raises(UsageError, match="no-home"):
        Hub.from_environment({})
    settings = Settings.from_environment({"PIE_HOME": "~/x", "PIE_CACHE": str(tmp_path)})
    assert (settings.home, settings.cache) == (Path("~/x"), tmp_path)
    assert Hub.from_environment({"HF_HOME": str(tmp_path)}).cache == tmp_path / "hub"


def test_a_flag_wins_over_the_environment_and_that_over_the_file(file: Path) -> None:
    file.write_text("[server]\nport = 1001\nhost = '::1'\n[limits]\nspin_s = 3\n")
    variables = environ(file, PIE_SERVER_PORT="1002", PIE_SERVER_HOST="127.0.0.2")
    configuration = load_configuration(variables, {"server.port": 1003, "model.kv_pages": None})
    assert (configuration["server.port"], configuration.origins["server.port"]) == (1003, "flag")
    assert (configuration["server.host"], configuration.origins["server.host"]) == ("127.0.0.2", "environment")
    assert (configuration["limits.spin_s"], configuration.origins["limits.spin_s"]) == (3.0, "file")
    assert configuration.origins["model.kv_pages"] == "default"


def test_the_parts_of_the_server_are_given_what_holds(file: Path) -> None:
    file.write_text(
        "[model]\npath = 'models/x'\nkv_pages = 7\n[limits]\nmemory_mb = 32\n[http]\nallowed_hosts = ['a.com']\n"
        "[mcp.files]\ncommand = ['python', 'server.py']\n"
    )
    (file.parent / "models" / "x").mkdir(parents=True)
    settings = load_configuration(environ(file)).settings(environ(file))
    assert settings.model == file.parent / "models/x"
    assert settings.kv_pages == 7
    assert settings.limits.memory_bytes == 32 << 20
    assert settings.allowed_hosts == ("a.com",)
    assert [server.name for server in settings.mcp_servers] == ["files"]


def test_more_models_have_tables_of_their_own(file: Path) -> None:
    file.write_text(
        "[models.large]\npath = 'models/large'\nkv_pages = 9\nweights = 'int8'\n[models.'a.b-1']\npath = '/'\n"
    )
    (file.parent / "models" / "large").mkdir(parents=True)
    models = load_configuration(environ(file)).settings(environ(file)).models
    assert [(model.name, model.path, model.kv_pages, model.weights) for model in models[1:]] == [
        ("large", file.parent / "models/large", 9, "int8"),
        ("a.b-1", Path("/"), None, "original"),
    ]


def test_a_model_is_named_by_its_directory_or_as_on_the_hub(file: Path) -> None:
    variables = environ(file, HF_HOME=str(file.parent / "huggingface"))
    file.write_text("[model]\npath = 'acme/tiny@v1'\n[models.own]\npath = 'embedded'\n")
    with pytest.raises(
        ModelError, match=r"model-not-found: acme/tiny@v1 .* `pie model download acme/tiny --revision v1`"
    ):
        load_configuration(variables).settings(variables)
    (file.parent / "acme" / "tiny@v1").mkdir(parents=True)
    models = load_configuration(variables).settings(variables).models
    assert [model.path for model in models] == [file.parent / "acme" / "tiny@v1", embedded_model()]
    file.write_text("[model]\npath = 'nowhere'\n")
    with pytest.raises(ModelError, match=r"model-not-found: .*/nowhere is no directory"):
        load_configuration(variables).settings(variables)


def test_routes_are_those_of_the_file_and_of_flags(file: Path) -> None:
    file.write_text("[[route]]\npath = '/a/b'\nprogram = 'one'\n[[route]]\npath = '/c'\nprogram = 'two@0.1.0'\n")
    routes = load_configuration(environ(file)).routes
    assert routes == (Route("/a/b", "one"), Route("/c", "two@0.1.0"))
    assert read_route("/d=three") == Route("/d", "three")
    for word, told in {"/d": "names no program", "d=e": "no path", "/healthz=e": "the server itself"}.items():
        with pytest.raises(UsageError, match=told):
            read_route(word)
    with pytest.raises(UsageError, match="2 routes have the path /c"):
        check_routes((*routes, Route("/c", "three")))


def test_a_route_may_have_a_surface(file: Path) -> None:
    text = "[[route]]\npath = '/a'\nprogram = 'one'\nsurface = '{}'\n"
    file.write_text(text.format("chat-completions"))
    assert load_configuration(environ(file)).routes == (Route("/a", "one", "chat-completions"),)
    file.write_text(text.format("inference-chat") + "on_disconnect = 'cancel'\n")
    assert load_configuration(environ(file)).routes == (Route("/a", "one", "inference-chat", "cancel"),)
    file.write_text(text.format("completions") + "on_disconnect = 'wait'\n")
    with pytest.raises(UsageError, match=r"bad-route: .*on_disconnect"):
        load_configuration(environ(file))
    file.write_text("[[route]]\npath = '/a'\nprogram = 'one'\non_disconnect = 'continue'\n")
    with pytest.raises(UsageError, match="on_disconnect is for a route with a surface"):
        load_configuration(environ(file))
    file.write_text(text.format("chat"))
    with pytest.raises(UsageError, match="'chat' is no surface"):
        load_configuration(environ(file))


def test_a_named_file_is_read_and_must_be_there(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[server]\nport = 5\n")
    assert load_configuration(environ(file, PIE_CONFIG=str(other)))["server.port"] == 5
    with pytest.raises(UsageError, match=r"bad-configuration: .*missing\.toml: there is no such file"):
        load_configuration(environ(file, PIE_CONFIG=str(tmp_path / "missing.toml")))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\nprot = 1", "there is no setting server.prot. Did you mean server.port?"),
        ("[sever]\nport = 1", r"there is no setting sever. Did you mean \[server\]?"),
        ("port = 1", "there is no setting port"),
        ("[server]\nport = 70000", "server.port is 70000, not a whole number from 0 to 65535"),
        ("[server]\nport = true", "server.port is true, not a whole number"),
        ("[server]\nauth = 'yes'", "server.auth is 'yes', not true or false"),
        ("[server]\nlog_format = 'xml'", "server.log_format is 'xml', not one of text, json"),
        ("[limits]\nspin_s = nan", "limits.spin_s is nan, not a number from 0.1"),
        ("[http]\nallowed_hosts = 'a.com'", "http.allowed_hosts is 'a.com', not a list of texts"),
        ("[model]\npath = ''", "model.path is '', not a directory or a name"),
        ("[mcp.files]\n", "the MCP server files needs a command or a url"),
        ("[mcp.files]\ncomand = []", "comand"),
        ("[server", "it is not TOML"),
        ("[models.large]\nkv_pages = 1", r"\[models.large\] has no path"),
        ("[models.large]\npth = 'x'", "there is no setting model.pth. Did you mean model.path?"),
        ("[models.'a b']\npath = 'x'", "names no model"),
        ("[models]\npath = 'x'", "names no model"),
        ("[route]\npath = '/x'\nprogram = 'x'", "Expected array"),
        ("[[route]]\npath = '/x'", "missing required field program"),
        ("[[route]]\npath = 'x'\nprogram = 'x'", "'x' is no path of a route"),
        ("[[route]]\npath = '/x/'\nprogram = 'x'", "'/x/' is no path of a route"),
        ("[[route]]\npath = '/metrics/x'\nprogram = 'x'", "the server itself answers at /metrics/x"),
        ("[[route]]\npath = '/x'\nprogram = '../x'", "'../x' is no program"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_the_name_of_what_is_wrong(text: str, told: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=told.replace("?", r"\?")) as caught:
        load_configuration(environ(file))
    assert str(file) in str(caught.value) or "mcp" in told.lower()
    assert caught.value.remedy


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="bad-configuration"):
        load_configuration(environ(file))


def test_a_folder_in_the_place_of_the_file_is_refused(file: Path) -> None:
    file.mkdir()
    with pytest.raises(UsageError, match="bad-configuration"):
        load_configuration(environ(file))


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PIE_SERVER_PROT", "1", "Did you mean PIE_SERVER_PORT?"),
        ("PIE_SERVER_PORT", "high", "PIE_SERVER_PORT: server.port is 'high', not a whole number"),
        ("PIE_LIMITS_CPU_S", "inf", "limits.cpu_s is inf"),
    ],
)
def test_a_variable_that_is_wrong_is_refused(variable: str, value: str, told: str, file: Path) -> None:
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        load_configuration(environ(file, **{variable: value}))


def test_variables_of_others_and_empty_ones_do_not_matter(file: Path) -> None:
    variables = environ(file, PIE_TEST_MODEL="x", PIE_CACHE="y", PIE_SERVER_PORT="", PIECE="z", PIE_MODEL="m")
    assert load_configuration(variables)["server.port"] == 8080


def test_a_flag_that_cannot_be_is_refused(file: Path) -> None:
    with pytest.raises(UsageError, match=r"bad-setting: command line: server\.port is -1"):
        load_configuration(environ(file), {"server.port": -1})


def test_the_template_changes_nothing_and_names_every_key(file: Path) -> None:
    write_file(file, template())
    assert set(load_configuration(environ(file)).origins.values()) == {"default"}
    for key in KEYS:
        assert key.meaning in template()


def test_setting_a_key_keeps_the_rest_of_the_file(file: Path) -> None:
    file.write_text("# mine\n[server]\nport = 1 # the port\n\n[mcp.files]\nurl = 'http://localhost/mcp'\n")
    assert set_in_file(file, find_key("server.port"), "9000") == 9000
    assert set_in_file(file, find_key("limits.cpu_s"), "2.5") == 2.5
    assert file.read_text().startswith("# mine\n[server]\nport = 9000 # the port\n")
    configuration = load_configuration(environ(file))
    assert (configuration["server.port"], configuration["limits.cpu_s"]) == (9000, 2.5)
    assert len(configuration.mcp_servers) == 1


@given(st.sampled_from(KEYS), st.data())
def test_what_is_set_is_what_is_read(key: Key, data: st.DataObject) -> None:
    values = {
        "integer": st.integers(-5, 70000),
        "number": st.floats(-1, 1e6),
        "text": st.text(max_size=10),
        "switch": st.booleans(),
        "path": st.text("abc/._ ", min_size=1),
        "model": st.text("abc/._@ ", min_size=1),
        "list": st.lists(st.text("abc.:1", min_size=1), max_size=3),
    }
    value = data.draw(values[key.kind])
    text = ",".join(value) if isinstance(value, list) else str(value)
    try:
        kept = key.parse(text)
    except Unfit:
        return
    assert key.check(kept) == kept


def test_a_wrong_file_is_not_made_longer(file: Path) -> None:
    file.write_text("[server]\nprot = 1\n")
    with pytest.raises(UsageError, match="unknown-setting"):
        set_in_file(file, find_key("server.port"), "2")
    assert file.read_text() == "[server]\nprot = 1\n"


def test_the_file_is_in_the_home_folder_unless_it_is_named() -> None:
    assert configuration_path({"PIE_HOME": "/home/x"}) == Path("/home/x/config.toml")
    assert configuration_path({"PIE_HOME": "/home/x", "PIE_CONFIG": "/etc/pie.toml"}) == Path("/etc/pie.toml")
    assert configuration_path({}) == Path.home() / ".pie" / "config.toml"


def test_the_page_about_the_configuration_is_that_of_the_code() -> None:
    assert PAGE.read_text() == reference()
