"""What a program can import; a change of the surface shows here."""

from __future__ import annotations

import pytest
from tests.running import RunProgram

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = """
    Adapter AnyJson Audio Child Constraint Context Distribution Ebnf Embedding Entropy Error Foresight Forward GenStep
    Generator Grammar GrammarConstraint Image JsonSchema Logits Logprob Logprobs Matcher McpSession Model Output
    ProbeHandle Regex SampleHandle Sampler Schema Speculator Subscription TokenLogprobs Tokenizer Video Window any_json
    chat ebnf grammar http json_schema mask mcp media messaging reasoning regex runtime scheduling session speech tools
    zo
"""

FUNCTIONS = {
    "chat": "Decoder Event assistant cue first_user seal stop_tokens system system_user user",
    "http": "Headers Response fetch get post",
    "mcp": "McpError McpSession available_servers connect",
    "media": "Audio Image Video",
    "messaging": "Subscription broadcast pull push subscribe",
    "reasoning": "Decoder Event",
    "runtime": "Child instance_id launch models username version",
    "scheduling": "balance dividend latency price rent",
    "session": "receive receive_file send send_file",
    "speech": "Speech speak",
    "tools": "Decoder Event Reader Said answer_prefix equip_prefix native_grammar native_matcher parse",
    "zo": "adapter_seed initialize update",
}


async def test_the_sdk_exports_exactly_these_names(run_program: RunProgram) -> None:
    source = """
        import inferlet

        def main():
            return [sorted(inferlet.__all__), all(hasattr(inferlet, name) for name in inferlet.__all__)]
    """
    assert (await run_program(source)).value == [sorted(NAMES.split()), True]


async def test_each_module_exports_exactly_these_names(run_program: RunProgram) -> None:
    source = """
        import inferlet

        def main(modules):
            found = {name: getattr(inferlet, name) for name in modules}
            return {name: sorted(set(module.__all__) - {"AnyEvent", "AnySaid"}) for name, module in found.items()
                    if all(hasattr(module, each) for each in module.__all__)}
    """
    expected = {module: sorted(names.split()) for module, names in FUNCTIONS.items()}
    assert (await run_program(source, sorted(FUNCTIONS))).value == expected


async def test_the_tokenizer_goes_both_ways(run_program: RunProgram) -> None:
    source = """
        from inferlet import Model

        def main():
            tokenizer = Model.default().tokenizer()
            ids, texts = tokenizer.vocabs()
            special_ids, special = tokenizer.special_tokens()
            return [tokenizer.decode(tokenizer.encode("Rain, again.")), len(ids) == len(texts) > 256,
                    isinstance(texts[0], bytes), len(special_ids) == len(special) > 0, tokenizer.split_regex()]
    """
    text, has_vocabulary, are_bytes, has_special, _ = (await run_program(source)).value
    assert text == "Rain, again."
    assert has_vocabulary
    assert are_bytes
    assert has_special


async def test_the_decoders_read_a_turn(run_program: RunProgram) -> None:
    source = """
        from inferlet import Model, chat, reasoning, tools

        def main():
            model = Model.default()
            encode = model.tokenizer().encode
            turn = chat.Decoder(model)
            seen = [turn.feed(encode("Hello")), turn.feed(encode(" there")), turn.feed(chat.stop_tokens(model)[:1])]
            thought = reasoning.Decoder(model)
            thought.feed(encode("plain"))
            thought.reset()
            caller = tools.Decoder(model)
            return [[repr(event) for event in seen], type(caller.feed(encode("x"))).__name__]
    """
    events, call = (await run_program(source)).value
    assert events[0] == "Event.Delta(text='Hello')"
    assert events[1] == "Event.Delta(text=' there')"
    assert events[2] == "Event.Done(text='Hello there')"
    assert call == "Start"


async def test_a_reader_tells_text_and_calls_apart(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler, chat, tools

        async def main():
            model = Model.default()
            reader = tools.Reader(model, stop_texts=["never"])
            text = 'Yes. <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
            said = reader.feed(model.tokenizer().encode(text))
            said += reader.feed(chat.stop_tokens(model)[:1])
            said += reader.feed(model.tokenizer().encode("No.")) + reader.finish()
            with Context(model) as context:
                context.user("Hello!")
                generator = context.generate(Sampler.argmax(), max_tokens=5)
                parts = [tokens async for tokens in generator.tokens() if tokens]
            return [[repr(one) for one in said], len(parts), sum(map(len, parts))]
    """
    said, num_parts, num_tokens = (await run_program(source)).value
    assert said == [
        "Said.Text(text='Yes.')",
        "Said.Call(name='f')",
        "Said.Args(text='{\"a\": 1}')",
        "Said.Called()",
        "Said.Text(text='No.')",
    ]
    assert 1 <= num_parts <= num_tokens == 5
