"""Grammars, tools, JSON, and what leaves the server: texts, files, HTTP, pictures."""

from calls import calls, fresh, generate

from inferlet import (
    Grammar,
    GrammarConstraint,
    Image,
    Matcher,
    Model,
    Sampler,
    chat,
    ebnf,
    http,
    json_schema,
    messaging,
    regex,
    session,
    tools,
)


def native(tool):
    return tools.native_matcher(Model.default(), [tool])


def not_accepted(tokens):
    Matcher(Grammar.from_ebnf('root ::= "ab"'), Model.default().tokenizer()).accept_tokens(tokens)


async def cut_off():
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 50}
    await fresh().user("numbers").generate(Sampler.argmax(), max_tokens=3).collect_json(schema=schema)


calls(
    {
        "JSON that is cut off": cut_off,
        "schema that is no JSON": lambda: generate(constrain=json_schema("{")),
        "schema that nothing satisfies": lambda: generate(constrain=json_schema({"type": "wombat"})),
        "regular expression that does not parse": lambda: generate(constrain=regex("(")),
        "grammar that does not parse": lambda: generate(constrain=ebnf("root ::= (")),
        "grammar without root": lambda: generate(constrain=ebnf('other ::= "a"')),
        "schema for JSON that is none": lambda: fresh().generate(Sampler.argmax()).collect_json(schema="{"),
        "constraint made of a bad grammar": lambda: GrammarConstraint.from_regex("[", Model.default()),
        "token that a grammar does not allow": lambda: not_accepted([60]),
        "token beyond the vocabulary for a grammar": lambda: not_accepted([10**6]),
        "negative token for a grammar": lambda: not_accepted([-1]),
        "negative token for a decoder": lambda: chat.Decoder(Model.default()).feed([-1]),
        "tool that is no JSON": lambda: native("{"),
        "tool without a name": lambda: native({"parameters": {}}),
        "tool whose parameters are no schema": lambda: native({"name": "a", "parameters": {"type": "wombat"}}),
        "tool that is no JSON in a prompt": lambda: tools.equip_prefix(Model.default(), ["{"]),
        "file that is too large": lambda: session.send_file(bytes(5 << 20)),
        "message that is too large": lambda: session.send("x" * (5 << 20)),
        "message for a topic that is too large": lambda: messaging.push("topic", "x" * (5 << 20)),
        "text to encode that is too large": lambda: Model.default().tokenizer().encode("x" * (5 << 20)),
        "message that is no text": lambda: messaging.push("topic", 3),
        "picture": lambda: Image.from_bytes(Model.default(), b"PNG"),
        "picture that is too large": lambda: Image.from_bytes(Model.default(), bytes(5 << 20)),
        "address that is none": lambda: http.get("gopher://example.com"),
        "host that is not open": lambda: http.get("http://192.0.2.1/"),
    }
)
