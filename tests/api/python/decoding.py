"""The three decoders and the helpers around them."""

from generating import ARGMAX
from inferlet import Context, Model, chat, reasoning, tools
from registry import proves

WEATHER = {
    "name": "get_weather",
    "description": "Get the weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def encode(text):
    """Tokens of a text in which control tokens may be written out."""
    return Model.default().tokenizer().encode(text)


def events(decoder, token_ids):
    """All events of tokens, fed one by one."""
    return [decoder.feed([token]) for token in token_ids]


@proves("chat.Decoder delta", "chat.Decoder done")
def chat_text():
    found = events(chat.Decoder(Model.default()), encode("Hi there, 🥧!<|im_end|>"))
    text = "".join(event.text for event in found if isinstance(event, chat.Event.Delta))
    assert text == "Hi there, 🥧!"
    assert isinstance(found[-1], chat.Event.Done)
    assert found[-1].text == text


@proves("chat.Decoder idle")
def chat_idle():
    decoder = chat.Decoder(Model.default())
    assert isinstance(decoder.feed([]), chat.Event.Idle)
    assert any(isinstance(event, chat.Event.Idle) for event in events(decoder, encode("🥧")[:-1]))


@proves("chat.Decoder interrupt")
def chat_interrupt():
    token = encode("<|im_start|>")[0]
    event = chat.Decoder(Model.default()).feed([token])
    assert isinstance(event, chat.Event.Interrupt)
    assert event.token == token


@proves("chat.Decoder reset")
def chat_reset():
    decoder = chat.Decoder(Model.default())
    decoder.feed(encode("forgotten"))
    decoder.reset()
    decoder.feed(encode("kept"))
    assert events(decoder, encode("<|im_end|>"))[0].text == "kept"


@proves("chat helpers")
def chat_helpers():
    model = Model.default()
    whole = Context(model).system("S").user("U").assistant("A").cue().buffer()
    parts = chat.system_user(model, "S", "U") + chat.assistant(model, "A") + chat.cue(model)
    assert whole == parts
    assert chat.system(model, "S") + chat.user(model, "U") == chat.system_user(model, "S", "U")
    assert chat.seal(model)[0] in chat.stop_tokens(model)


@proves("reasoning.Decoder start", "reasoning.Decoder delta", "reasoning.Decoder end", "reasoning.Decoder idle")
def reasoning_events():
    decoder = reasoning.Decoder(Model.default())
    found = events(decoder, encode("a<think>because</think>b"))
    assert isinstance(found[0], reasoning.Event.Idle)
    assert any(isinstance(event, reasoning.Event.Start) for event in found)
    text = "".join(event.text for event in found if isinstance(event, reasoning.Event.Delta))
    ends = [event.text for event in found if isinstance(event, reasoning.Event.End)]
    assert (text, ends) == ("because", ["because"])
    assert isinstance(found[-1], reasoning.Event.Idle)


@proves("reasoning.Decoder reset")
def reasoning_reset():
    decoder = reasoning.Decoder(Model.default())
    events(decoder, encode("<think>forgotten"))
    decoder.reset()
    found = events(decoder, encode("no thought<think>kept</think>"))
    assert isinstance(found[0], reasoning.Event.Idle)
    assert [event.text for event in found if isinstance(event, reasoning.Event.End)] == ["kept"]


@proves("tools.Decoder reset")
def tool_reset():
    decoder = tools.Decoder(Model.default())
    events(decoder, encode('<tool_call>\n{"name": "forgotten", '))
    decoder.reset()
    found = events(decoder, encode('<tool_call>\n{"name": "kept", "arguments": {}}\n</tool_call>'))
    assert [event.name for event in found if isinstance(event, tools.Event.Call)] == ["kept"]


@proves("tools.Decoder start", "tools.Decoder call")
def tool_events():
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Lima"}}\n</tool_call>'
    found = events(tools.Decoder(Model.default()), encode(call + call))
    assert isinstance(found[0], tools.Event.Start)
    calls = [event for event in found if isinstance(event, tools.Event.Call)]
    assert [(each.name, each.args) for each in calls] == [("get_weather", '{"city": "Lima"}')] * 2


@proves("tools.equipPrefix", "tools.answerPrefix")
async def tool_round():
    model = Model.default()
    context = Context(model).append(tools.equip_prefix(model, [WEATHER])).user("What is the weather in Lima?")
    made = await context.generate(ARGMAX, max_tokens=80).collect_tokens()
    calls = [each for each in events(tools.Decoder(model), made) if isinstance(each, tools.Event.Call)]
    assert calls[0].name == "get_weather"
    context.seal().append(tools.answer_prefix(model, calls[0].name, {"temperature": 21, "sky": "sunny"}))
    assert "21" in await context.generate(ARGMAX, max_tokens=60).collect_text()


@proves("tools.nativeMatcher")
async def native_matcher():
    from inferlet import GrammarConstraint

    model = Model.default()
    constraint = GrammarConstraint(tools.native_matcher(model, [WEATHER]))
    context = Context(model).append(tools.equip_prefix(model, [WEATHER])).user("Hello")
    made = await context.generate(ARGMAX, max_tokens=80, constrain=constraint).collect_tokens()
    calls = [each for each in events(tools.Decoder(model), made) if isinstance(each, tools.Event.Call)]
    assert [each.name for each in calls] == ["get_weather"]
