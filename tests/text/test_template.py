"""Chat templates: message by message equals the whole conversation, and words never become control tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text.families import CHATML, LLAMA, STYLES

from pie.errors import ModelError, RequestError
from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer

CONTROLS = {control for style in STYLES.values() for control in style.controls}
words = (
    st.text(alphabet=st.characters(codec="utf-8"), max_size=12)
    | st.sampled_from(["Hello there", " a\nb ", '{"r": 1}', "", "\n"])
).filter(lambda text: not any(control in text for control in CONTROLS))


@pytest.fixture(scope="session", params=[*STYLES, "embedded"])
def styled(
    request: pytest.FixtureRequest,
    make_byte_tokenizer: Callable[..., Tokenizer],
    tokenizer: Tokenizer,
    template: ChatTemplate,
) -> tuple[str, Tokenizer, ChatTemplate]:
    name: str = request.param
    if name == "embedded":
        return name, tokenizer, template
    own = make_byte_tokenizer(*STYLES[name].controls)
    return name, own, ChatTemplate(own, STYLES[name].source, variables=STYLES[name].variables)


@pytest.fixture(scope="session")
def make_template(make_byte_tokenizer: Callable[..., Tokenizer]) -> Callable[[str | None], ChatTemplate]:
    return lambda source: ChatTemplate(make_byte_tokenizer(*CHATML), source)


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@settings(max_examples=25)
@given(turns=st.lists(st.tuples(words, words), max_size=3), last=words)
def test_a_conversation_made_of_pieces_equals_the_whole(
    styled: tuple[str, Tokenizer, ChatTemplate], turns: list[tuple[str, str]], last: str
) -> None:
    _, tokenizer, template = styled
    messages: list[dict[str, str]] = []
    ids: list[int] = []
    for user, assistant in [*turns, (last, "")]:
        messages += [message("user", user), message("assistant", assistant)]
        ids += template.user(user) if ids else template.first_user(user)
        ids += template.assistant(assistant)
    messages.pop()
    ids = ids[: len(ids) - len(template.assistant(""))] + template.cue()
    assert ids == tokenizer.encode(template.render(messages, add_generation_prompt=True))


@settings(max_examples=25)
@given(system=words, user=words)
def test_a_system_message_with_the_first_user_equals_the_whole(
    styled: tuple[str, Tokenizer, ChatTemplate], system: str, user: str
) -> None:
    name, tokenizer, template = styled
    ids = template.system_user(system, user)
    if "no system role" in " ".join(template.notes):
        trimmed = user.strip() if name == "gemma" else user
        assert tokenizer.decode(ids) == tokenizer.decode(template.first_user("U")).replace(
            "U", f"{system}\n\n{trimmed}"
        )
        return
    messages = [message("system", system), message("user", user)]
    whole = tokenizer.encode(template.render(messages, add_generation_prompt=True))
    assert ids + template.cue() == whole
    if name == "embedded" or STYLES[name].has_system:
        assert ids == template.system(system) + template.user(user)


@settings(max_examples=25)
@given(result=words)
def test_a_tool_result_equals_the_whole(styled: tuple[str, Tokenizer, ChatTemplate], result: str) -> None:
    name, tokenizer, template = styled
    ids = template.answer("weather", result)
    returned = {**message("tool", result), "name": "weather", "tool_call_id": "weather"}
    if name == "embedded" or STYLES[name].has_tool:
        before = [message("user", "u"), message("assistant", "a")]
        after = [message("assistant", "b"), message("user", "v")]
        whole = template.render([*before, returned, *after], add_generation_prompt=True)
        start = template.first_user("u") + template.assistant("a")
        rest = template.assistant("b") + template.user("v") + template.cue()
        assert start + ids + rest == tokenizer.encode(whole)
    elif name not in ("gpt-oss",):
        assert result.strip() in tokenizer.decode(ids)


@pytest.mark.parametrize("name", ["deepseek-r1", "mistral", "mistral-named", "gpt-oss"])
@settings(max_examples=25)
@given(result=words, arguments=st.dictionaries(words, words | st.integers(), max_size=2))
def test_calls_and_results_equal_the_whole(
    make_byte_tokenizer: Callable[..., Tokenizer], name: str, result: str, arguments: dict[str, Any]
) -> None:
    tokenizer = make_byte_tokenizer(*STYLES[name].controls)
    template = ChatTemplate(tokenizer, STYLES[name].source, variables=STYLES[name].variables)
    call = {"id": "callabcde", "type": "function", "function": {"name": "callabcde", "arguments": arguments}}
    called: dict[str, Any] = {**message("assistant", ""), "tool_calls": [call]}
    returned = {**message("tool", result), "name": "callabcde", "tool_call_id": "callabcde"}
    ids = template.first_user("u") + template.assistant("", tool_calls=[("callabcde", arguments)])
    assert ids == tokenizer.encode(template.render([message("user", "u"), called]))
    whole = template.render([message("user", "u"), called, returned])
    assert ids + template.answer("callabcde", result) == tokenizer.encode(whole)


def test_the_styles_are_cut_without_falling_back(styled: tuple[str, Tokenizer, ChatTemplate]) -> None:
    name, _, template = styled
    expected = () if name == "embedded" else STYLES[name].notes
    assert len(template.notes) == len(expected)
    assert all(part in note for part, note in zip(expected, template.notes, strict=True))


@settings(max_examples=25)
@given(words=st.lists(st.sampled_from([*CHATML, *LLAMA, "<bos>", "<s>", "</s>", "x", "\n"])).map("".join))
def test_words_never_become_control_tokens(styled: tuple[str, Tokenizer, ChatTemplate], words: str) -> None:
    _, tokenizer, template = styled
    added = {token.token_id for token in tokenizer.added_tokens}

    def controls(ids: list[int]) -> list[int]:
        return [token_id for token_id in ids if token_id in added]

    for frame in (template.system, template.first_user, template.user, template.assistant):
        assert controls(frame(words)) == controls(frame("x"))
    assert controls(template.system_user(words, words)) == controls(template.system_user("x", "x"))
    assert controls(template.answer(words, words)) == controls(template.answer("x", "x"))
    tool = {"name": words, "description": words, "parameters": {words: [words]}}
    assert controls(template.equip([json.dumps(tool)], system=words)) == controls(
        template.equip(['{"name": "x"}'], system="x")
    )
    assert controls(template.assistant("", tool_calls=[(words, {words: words})])) == controls(
        template.assistant("", tool_calls=[("x", {"x": "x"})])
    )


def corpus_render(messages: list[dict[str, str]], tools: list[dict[str, Any]]) -> str:
    """The text the embedded model was trained on, written independently of any template."""
    first, text = messages[0], ""
    system = first["content"] if first["role"] == "system" else None
    if tools:
        text = f"<|im_start|>system\n{'' if system is None else system + chr(10)}Tools:"
        text += "".join("\n" + json.dumps(tool) for tool in tools) + "<|im_end|>\n"
    elif system is not None:
        text = f"<|im_start|>system\n{system}<|im_end|>\n"
    for turn in messages:
        if turn["role"] != "system":
            text += f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n"
    return text


TOOLS = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "Get it", "parameters": {"type": "object"}},
    },
    {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    },
]


@pytest.mark.parametrize("tools", [TOOLS, TOOLS[:1]])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_tools_are_registered_as_the_embedded_model_was_trained(
    tokenizer: Tokenizer, template: ChatTemplate, tools: list[dict[str, Any]], system: str | None
) -> None:
    start = [message("system", system)] if system is not None else []
    call = json.dumps({"name": "add", "arguments": {"a": 1}})
    turns = [
        message("user", "Add."),
        message("assistant", f"<tool_call>\n{call}\n</tool_call>"),
        message("tool", '{"ok": true}'),
        message("assistant", "Done."),
    ]
    ids = [
        *template.equip([json.dumps(tool) for tool in tools], system=system),
        *template.user("Add."),
        *template.assistant("", tool_calls=[("add", {"a": 1})]),
        *template.answer("add", '{"ok": true}'),
        *template.cue(),
        *tokenizer.encode("Done."),
        *template.seal(),
    ]
    assert ids == tokenizer.encode(corpus_render([*start, *turns], tools))


def test_a_bare_function_is_wrapped_as_templates_expect(template: ChatTemplate) -> None:
    bare = json.dumps(TOOLS[0]["function"])
    assert template.equip([bare]) == template.equip([json.dumps(TOOLS[0])])


def test_tools_are_spelled_out_where_the_template_has_no_place_for_them(
    make_template: Callable[[str | None], ChatTemplate], make_byte_tokenizer: Callable[..., Tokenizer]
) -> None:
    text = make_byte_tokenizer(*CHATML).decode(
        make_template(STYLES["qwen2"].source).equip(['{"name": "f"}'], system="Hi.")
    )
    assert text.startswith("<|im_start|>system\nHi.\nTools:\n")
    assert '{"name": "f"}' in text
    assert text.endswith("<|im_end|>\n")


@pytest.mark.parametrize(
    "tools",
    [
        ["{"],
        ["[]"],
        ["{}"],
        ['{"name": 3}'],
        ['{"function": 3}'],
        ["[" * 5000],
        ['{"name": "' + "x" * 1_000_001 + '"}'],
    ],
)
def test_tools_that_are_no_schemas_are_refused(template: ChatTemplate, tools: list[str]) -> None:
    with pytest.raises(RequestError, match="bad-tools"):
        template.equip(tools)


def test_sealing_closes_the_turn_and_nothing_else(tokenizer: Tokenizer, template: ChatTemplate) -> None:
    assert tokenizer.decode(template.seal()) == "<|im_end|>\n"
    assert template.cue() + tokenizer.encode("Yes.") + template.seal() == template.assistant("Yes.")
    assert template.stop_tokens() == [0, 2]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "no chat template"),
        ("{% for m in messages %}{{ m.content }}", "Unexpected end of template"),
        ("{{ 1 / 0 }}", "division"),
        ("no messages", "writes a message 0 times"),
        ("{% for m in messages %}{{ loop.index ~ m.role ~ m.content }}{% endfor %}", "in another"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "steps"),
        ("{{ 'a' * 10**9 }}", "items"),
    ],
)
def test_a_template_that_cannot_be_used_gives_way_to_chatml_and_says_why(
    make_template: Callable[[str | None], ChatTemplate], source: str | None, reason: str
) -> None:
    template = make_template(source)
    assert reason in template.notes[0]
    assert "ChatML" in template.notes[0]
    assert template.user("x") == make_template(STYLES["qwen3"].source).user("x")
    with pytest.raises(ModelError, match="bad-chat-template"):
        template.render([message("user", "x")])


def test_a_cue_that_opens_a_thought_is_known(make_template: Callable[[str | None], ChatTemplate]) -> None:
    thinking = STYLES["qwen3"].source.replace(
        "'<|im_start|>assistant\n' }}{%- endif %}", "'<|im_start|>assistant\n<think>\n' }}{%- endif %}"
    )
    assert make_template(thinking).cue_opens_reasoning
    assert not make_template(STYLES["qwen3"].source).cue_opens_reasoning


def test_a_template_file_that_is_no_text_is_refused(
    tmp_path: Path, make_byte_tokenizer: Callable[..., Tokenizer]
) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match=r"bad-chat-template: .*chat_template\.jinja cannot be read"):
        ChatTemplate.load(tmp_path, make_byte_tokenizer(*CHATML))


def test_the_template_file_goes_before_the_setting(
    tmp_path: Path, make_byte_tokenizer: Callable[..., Tokenizer]
) -> None:
    tokenizer = make_byte_tokenizer(*CHATML, *LLAMA)
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": STYLES["qwen3"].source}]
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": named, "bos_token": {"content": "<|begin_of_text|>"}})
    )
    assert tokenizer.decode(ChatTemplate.load(tmp_path, tokenizer).user("u")) == "<|im_start|>user\nu<|im_end|>\n"
    (tmp_path / "chat_template.jinja").write_text(STYLES["llama3"].source)
    assert tokenizer.decode(ChatTemplate.load(tmp_path, tokenizer).first_user("u")) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>"
    )
