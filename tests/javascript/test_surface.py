"""What a JavaScript program can call: contexts, generations, passes, grammars, decoders, and their errors."""

from __future__ import annotations

from typing import Any

import pytest
from tests.running import RunProgram

# The first test waits for the runner to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

NAMES = """
    Adapter Audio Child Context Distribution Embedding Entropy Forward GenStep Generator Grammar GrammarConstraint Image
    InferletError Logits Logprob Logprobs Matcher McpSession Model Output ProbeHandle SampleHandle Sampler Subscription
    Tokenizer Video Window anyJson chat ebnf files grammar http jsonSchema mask mcp media messaging reasoning
    regex runtime scheduling session speech tools zo
"""

FUNCTIONS = {
    "chat": "Decoder assistant cue firstUser seal stopTokens system systemUser user",
    "files": "append exists list mkdir readBytes readText remove rename stat writeBytes writeText",
    "http": "fetch get post",
    "mask": "intersect window",
    "mcp": "McpError McpSession availableServers connect",
    "media": "Audio Image Video",
    "messaging": "Subscription broadcast pull push subscribe",
    "reasoning": "Decoder",
    "runtime": "Child instanceId launch models username version",
    "scheduling": "balance dividend latency price rent",
    "session": "receive receiveFile send sendFile",
    "speech": "Speech speak",
    "tools": "Decoder Reader answerPrefix equipPrefix nativeGrammar nativeMatcher parse",
    "zo": "adapterSeed initialize update",
}


async def value(run: RunProgram, body: str, *, names: str = "Context, InferletError, Model, Sampler") -> Any:
    """What the body of a `main` returns that has a `model` and a function `code`."""
    program = f"""
        import {{ {names} }} from 'inferlet';
        const code = (call: () => unknown) => {{
          try {{ call(); return 'no error'; }} catch (error: any) {{ return error.code ?? String(error); }}
        }};
        export async function main() {{
          using model = Model.default();
          {body}
        }}
    """
    return (await run(program)).value


async def test_the_sdk_exports_exactly_these_names(run_javascript: RunProgram) -> None:
    source = """
        import * as inferlet from 'inferlet';

        export const main = (modules: (keyof typeof inferlet)[]) =>
          [Object.keys(inferlet), ...modules.map((name) => Object.keys(inferlet[name]))].map((names) => names.sort());
    """
    everything, *modules = (await run_javascript(source, list(FUNCTIONS))).value
    assert everything == sorted(NAMES.split())
    assert modules == [sorted(names.split()) for names in FUNCTIONS.values()]


async def test_the_server_and_the_model_can_be_asked(run_javascript: RunProgram) -> None:
    body = """
        const tokenizer = model.tokenizer();
        const [ids, texts] = tokenizer.vocabs();
        const [specialIds, special] = tokenizer.specialTokens();
        return [
          runtime.models().includes(model.name), runtime.version(), runtime.username(), runtime.instanceId() !== '',
          tokenizer.decode(tokenizer.encode('Rain, again.')), ids.length === texts.length && ids.length > 256,
          texts[0] instanceof Uint8Array, specialIds.length === special.length, typeof tokenizer.splitRegex(),
          [scheduling.balance(model), scheduling.price(), scheduling.dividend(model)].every(Number.isFinite),
          Array.isArray(mcp.availableServers()),
        ];
    """
    found = await value(run_javascript, body, names="Model, mcp, runtime, scheduling")
    assert found[:1] == [True]
    assert found[2:] == ["local", True, "Rain, again.", True, True, True, "string", True, True]


async def test_a_context_is_filled_forked_saved_and_truncated(run_javascript: RunProgram) -> None:
    body = """
        using context = new Context(model);
        context.append([1, 2, 3]).appendText('four').cue().seal();
        const buffered = context.buffer().length;
        await context.flush();
        const length = context.seqLen;
        using fork = context.fork();
        fork.truncate(2);
        context.save('kept');
        const again = code(() => context.save('kept', { overwrite: false }));
        const name = context.snapshot();
        using opened = Context.open(model, 'kept')!;
        using taken = Context.take(model, name)!;
        Context.delete(model, 'kept');
        return [
          buffered === length, context.buffer().length, length - fork.seqLen, opened.seqLen === length,
          taken.seqLen === length, Context.open(model, 'kept') ?? null, Context.take(model, name) ?? null,
          code(() => Context.delete(model, 'kept')), again, context.pageSize > 0, context.model === model,
        ];
    """
    assert await value(run_javascript, body) == [
        True, 0, 2, True, True, None, None, "snapshot-not-found", "snapshot-exists", True, True,
    ]  # fmt: skip


async def test_what_was_released_refuses_to_be_used(run_javascript: RunProgram) -> None:
    body = """
        const context = new Context(model);
        context.release();
        context.release();
        const tokenizer = Model.default().tokenizer();
        tokenizer[Symbol.dispose]();
        const compiled = Grammar.json();
        compiled[Symbol.dispose]();
        const decoder = new chat.Decoder(model);
        decoder[Symbol.dispose]();
        return [
          code(() => context.fork()), code(() => context.setBid(1)), code(() => tokenizer.encode('x')),
          code(() => compiled.toString()), code(() => decoder.feed([1])),
          await context.append([1]).flush().then(() => 'no error', (error) => error.code),
        ];
    """
    assert await value(run_javascript, body, names="chat, Context, Grammar, Model") == ["released"] * 6


async def test_releasing_a_context_fails_the_generation_that_another_task_waits_for(run_javascript: RunProgram) -> None:
    body = """
        const context = new Context(model).user('hello');
        const running = context.generate(Sampler.argmax(), { maxTokens: 100_000, stop: [] }).collectTokens();
        await new Promise((r) => setTimeout(r, 10));
        const busy = code(() => context.buffer());
        context.release();
        return [busy, await running.then(() => 'no error', (error) => error.code)];
    """
    assert await value(run_javascript, body) == ["context-busy", "context-destroyed"]


async def test_a_forward_pass_draws_and_reads(run_javascript: RunProgram) -> None:
    body = """
        using context = new Context(model).append([5, 6]);
        const forward = context.forward();
        const start = forward.startPosition();
        forward.input([7, 8, 9]).mask([20, 30]).seed(3);
        const drawn = forward.sample([1, 2], Sampler.multinomial(1));
        const best = forward.sample([2], Sampler.argmax());
        const logits = forward.probe(2, Logits());
        const likely = forward.probe(2, Distribution(1, 4));
        const scores = forward.probe(2, Logprobs([1, 2, 3]));
        const score = forward.probe(2, Logprob(2));
        const entropy = forward.probe(2, Entropy());
        const out = await forward.execute();
        const [ids, shares] = out.distribution(likely)!;
        const masked = [...out.tokensAt(drawn), out.token(best)!];
        return [
          start, context.seqLen, masked.length, masked.every((token) => token >= 20 && token < 50),
          out.logits(logits)!.length / 4 === model.tokenizer().vocabs()[0].length, ids.length,
          shares[0]! >= shares[1]!,
          Math.abs(out.logprobs(scores)![1]! - out.logprobs(score)![0]!) < 1e-6, out.entropy(entropy)! > 0,
          out.entropy(logits) ?? null, code(() => out.token(new SampleHandle(1))), out.tokens.length,
          out.raw.slots.length,
        ];
    """
    names = "Context, Distribution, Entropy, Logits, Logprob, Logprobs, Model, SampleHandle, Sampler"
    found = await value(run_javascript, body, names=names)
    assert found == [2, 5, 3, True, True, 4, True, True, True, None, "foreign-handle", 0, 8]


async def test_positions_and_attention_masks_reach_the_server(run_javascript: RunProgram) -> None:
    body = """
        using context = new Context(model);
        const read = async (mask: number[][] | undefined, positions: number[]) => {
          using fork = context.fork();
          const forward = fork.forward().inputAt([5, 6, 7], positions);
          if (mask) forward.attentionMask(mask);
          const probe = forward.probe(2, Logprob(9));
          return (await forward.execute()).logprobs(probe)![0]!;
        };
        const causal = [[0, 1], [0, 2], [0, 3]];
        const plain = await read(undefined, [0, 1, 2]);
        return [
          (await read(causal, [0, 1, 2])) === plain, (await read([[0, 1], [0, 2], [2, 1]], [0, 1, 2])) === plain,
          (await read(undefined, [0, 1, 5])) === plain, code(() => context.forward().inputAt([1], [1, 2])),
        ];
    """
    assert await value(run_javascript, body, names="Context, Logprob, Model") == [True, False, False, "bad-positions"]


async def test_a_generation_collects_text_pieces_and_json(run_javascript: RunProgram) -> None:
    body = """
        const ask = () => new Context(model).user('What is the capital of France?');
        const whole = await ask().generate(Sampler.argmax(), { maxTokens: 40 }).collectText({ echo: true });
        let pieces = '';
        for await (const piece of ask().generate(Sampler.argmax(), { maxTokens: 40 }).text()) pieces += piece;
        const json = (maxTokens: number, options?: object) => new Context(model)
          .user('Extract JSON with the keys name, age: Wilma is 34 years old.')
          .generate(Sampler.argmax(), { maxTokens }).collectJson(options);
        const schema = { type: 'object', properties: { name: { type: 'string' }, age: { type: 'integer' } },
                         required: ['name', 'age'], additionalProperties: false };
        const cut = json(1, { schema });
        return [
          whole, pieces === whole, await json(60, { schema }), typeof await json(60),
          await json(60, { schema: JSON.stringify(schema), parse: (value: { age: number }) => value.age + 1 }),
          await cut.then(() => 'no error', (error) => error.code),
        ];
    """
    found = await value(run_javascript, body)
    assert found[:2] == ["The capital of France is Paris.", True]
    assert found[2:] == [{"name": "Wilma", "age": 34}, "object", 35, "incomplete-json"]


async def test_constraints_compose_and_those_of_the_program_see_every_token(run_javascript: RunProgram) -> None:
    body = """
        const seen: number[] = [];
        const mine = { step: (accepted: Uint32Array) => { seen.push(...accepted); return new Uint32Array(); } };
        const schema = { buildConstraint: (m: Model) => GrammarConstraint.fromRegex('[a-z]+', m) };
        using context = new Context(model).user('hello');
        const generator = context.generate(Sampler.argmax(), { maxTokens: 6, constrain: [mine, schema] });
        const tokens = await generator.constrain(regex(/[a-m]+/)).collectTokens();
        const text = model.tokenizer().decode(tokens);
        using matcher = new Matcher(Grammar.fromEbnf('root ::= "yes" | "no"'), model.tokenizer());
        matcher.acceptTokens([...model.tokenizer().encode('yes'), chat.stopTokens(model)[0]!]);
        const ended = matcher.isTerminated();
        matcher.reset();
        return [
          /^[a-m]+$/.test(text), tokens.join().startsWith(seen.join()) && seen.length >= tokens.length - 1,
          ended, matcher.isTerminated(),
          matcher.nextTokenLogitMask().length > 0, code(() => matcher.acceptTokens(model.tokenizer().encode('z'))),
          code(() => context.generate(Sampler.argmax(), { constrain: {} as any })), code(() => Grammar.fromRegex('(')),
        ];
    """
    names = "Context, Grammar, GrammarConstraint, Matcher, Model, Sampler, chat, regex"
    found = await value(run_javascript, body, names=names)
    assert found == [True, True, True, False, True, "not-accepted", "bad-constraint", "bad-regex"]


async def test_steps_can_be_probed_and_drawn_by_the_program(run_javascript: RunProgram) -> None:
    body = """
        const start = () => new Context(model).user('What is the capital of France?');
        const expected = [...await start().generate(Sampler.argmax(), { maxTokens: 6 }).collectTokens()];
        const generator = start().generate(Sampler.argmax(), { maxTokens: 6 });
        const each = generator.probeEachStep(-1, Distribution(1, 1));
        const tokens: number[] = [];
        for await (const step of generator) {
          const out = await step.clearSampler().execute();
          tokens.push(...generator.accept([out.distribution(each)![0][0]!]));
        }
        return [tokens.join() === expected.join(), generator.tokensGenerated, generator.isDone];
    """
    assert await value(run_javascript, body, names="Context, Distribution, Model, Sampler") == [True, 6, True]


async def test_a_speculator_changes_no_token(run_javascript: RunProgram) -> None:
    body = """
        const start = () => new Context(model).user('Count to twenty.');
        const expected = await start().generate(Sampler.argmax(), { maxTokens: 24 }).collectTokens();
        let [at, wrong, passes] = [0, 0, 0];
        const speculator = {
          draft: (): [Uint32Array, Uint32Array] => {
            passes += 1;
            return [Uint32Array.of(...expected.slice(at, at + 2), 1), new Uint32Array()];
          },
          accept: (tokens: Uint32Array) => { at += tokens.length; },
          rollback: (n: number) => { wrong += n; },
          reset: () => {},
        };
        const drafted = await start().generate(Sampler.argmax(), { maxTokens: 24, speculator }).collectTokens();
        return [drafted.join() === expected.join(), passes < 24, wrong > 0,
                code(() => start().generate(Sampler.argmax(), { speculator, systemSpeculation: true }))];
    """
    assert await value(run_javascript, body) == [True, True, True, "bad-option"]


async def test_guesses_of_the_server_change_no_token_and_a_window_keeps_pages_bounded(
    run_javascript: RunProgram,
) -> None:
    body = """
        const run = async (options: object) => {
          using context = new Context(model).user('Count from one to ninety in words.');
          const generator = context.generate(Sampler.argmax(), { maxTokens: 60, stop: [], ...options });
          const tokens: number[] = [];
          for await (const step of generator) tokens.push(...(await step.execute()).tokens);
          return [tokens.join(), context.seqLen];
        };
        const [plain, length] = await run({});
        const [guessed] = await run({ systemSpeculation: true });
        const [wide] = await run({ window: new Window(10_000) });
        const [narrow, same] = await run({ window: new Window(20, 4) });
        return [guessed === plain, wide === plain, narrow !== plain, same === length, [...mask.window(100, 16, 4)]];
    """
    found = await value(run_javascript, body, names="Context, Model, Sampler, Window, mask")
    assert found == [True, True, True, True, [0, 4, 80, 16]]


async def test_discarded_pages_are_no_longer_held(run_javascript: RunProgram) -> None:
    body = """
        using context = new Context(model).append(Array.from({ length: 70 }, (_, index) => 300 + index));
        await context.flush();
        const held = [context.pagesHeld];
        context.discardPages(1, 3);
        held.push(context.pagesHeld);
        const codes: string[] = [];
        for (const wanted of [() => context.discardPages(3, 2), () => context.forward().input([7]).execute()]) {
          try {
            await wanted();
          } catch (error) {
            if (error instanceof InferletError) codes.push(error.code);
          }
        }
        await context.forward().input([7]).attentionMask([[0, 16, 48, 7]]).execute();
        return [held, codes, context.seqLen];
    """
    found = await value(run_javascript, body, names="Context, InferletError, Model")
    assert found == [[5, 3], ["not-discardable", "discarded-page"], 71]


async def test_the_decoders_read_a_turn(run_javascript: RunProgram) -> None:
    body = """
        const encode = (text: string) => model.tokenizer().encode(text);
        using turn = new chat.Decoder(model);
        const fed = [encode('Hello'), encode(' there'), chat.stopTokens(model).slice(0, 1)];
        const seen = fed.map((tokens) => turn.feed(tokens));
        using thought = new reasoning.Decoder(model);
        thought.feed(encode('plain'));
        thought.reset();
        using caller = new tools.Decoder(model);
        const framed = [chat.system(model, 's'), chat.user(model, 'u')].map((tokens) => tokens.length > 0);
        return [...seen, caller.feed(encode('x')), ...framed];
    """
    assert await value(run_javascript, body, names="Model, chat, reasoning, tools") == [
        {"type": "delta", "text": "Hello"},
        {"type": "delta", "text": " there"},
        {"type": "done", "text": "Hello there"},
        {"type": "start"},
        True,
        True,
    ]


async def test_a_reader_tells_text_and_calls_apart(run_javascript: RunProgram) -> None:
    body = """
        using reader = new tools.Reader(model, { stopTexts: ['never'] });
        const text = 'Yes. <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>';
        const said = reader.feed(model.tokenizer().encode(text));
        said.push(...reader.feed(chat.stopTokens(model).slice(0, 1)), ...reader.feed(model.tokenizer().encode('No.')));
        said.push(...reader.finish());
        using context = new Context(model).user('Hello!');
        let count = 0;
        const generator = context.generate(Sampler.argmax(), { maxTokens: 5 });
        for await (const tokens of generator.tokens()) count += tokens.length;
        using sum = new Context(model).user('What is 47 + 38?');
        const thinking = sum.generate(Sampler.argmax(), { maxTokens: 80 });
        await thinking.collectText();
        const counts = [generator.reasoningTokens, thinking.reasoningTokens > 5];
        return [said, count, counts, code(() => new tools.Reader(model, { stopTexts: [''] }))];
    """
    assert await value(run_javascript, body, names="Context, Model, Sampler, chat, tools") == [
        [
            {"type": "text", "text": "Yes."},
            {"type": "call", "name": "f"},
            {"type": "args", "text": '{"a": 1}'},
            {"type": "called"},
            {"type": "text", "text": "No."},
        ],
        5,
        [0, True],
        "bad-request",
    ]


async def test_tools_are_told_to_the_model_and_its_calls_enforced(run_javascript: RunProgram) -> None:
    body = """
        const weather = { name: 'get_weather', description: 'The weather of a city', parameters: {
          type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false } };
        using context = new Context(model).append(tools.equipPrefix(model, [weather]));
        context.user('What is the weather in Lima?');
        using matcher = tools.nativeMatcher(model, [weather])!;
        const constrain = new GrammarConstraint(matcher);
        const made = await context.generate(Sampler.argmax(), { maxTokens: 60, constrain }).collectTokens();
        using caller = new tools.Decoder(model);
        const events = [caller.feed(made), caller.feed([])];
        const event = events.find(({ type }) => type === 'call') ?? events[0];
        const answer = tools.answerPrefix(model, 'get_weather', { sky: 'sunny' });
        return [event, answer.length > 0, code(() => tools.equipPrefix(model, ['{']))];
    """
    event, has_answer, bad = await value(
        run_javascript, body, names="Context, GrammarConstraint, Model, Sampler, tools"
    )
    assert event["type"] == "call"
    assert event["name"] == "get_weather"
    assert has_answer
    assert bad != "no error"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("context.append([-1])", "bad-number"),
        ("context.append([1.5])", "bad-number"),
        ("new Window(64, { sink: 4 } as any)", "bad-number"),
        ("context.generate(Sampler.argmax(), { maxTokens: -1 })", "bad-number"),
        ("context.generate(Sampler.argmax(), { seed: -1 })", "bad-number"),
        ("context.generate(Sampler.argmax(), { seed: 2n ** 64n })", "bad-number"),
        ("context.generate(Sampler.argmax(), { zoSeed: -1n })", "bad-number"),
        ("context.forward().zoSeed(-1)", "bad-number"),
        ("context.generate(Sampler.argmax(), { max_tokens: 5 } as any)", "bad-option"),
        ("Sampler.topK(1, 2 ** 32)", "bad-number"),
        ("Model.load('nobody')", "model-not-served"),
        ("mcp.connect('nobody')", "mcp"),
        ("Image.fromBytes(model, Uint8Array.of(1))", "not-offered"),
        ("model.tokenizer().decode([4_000_000_000])", "bad-token"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_code(run_javascript: RunProgram, call: str, code: str) -> None:
    body = f"using context = new Context(model); return code(() => {call});"
    assert await value(run_javascript, body, names="Context, Image, Model, Sampler, Window, mcp") == code


@pytest.mark.parametrize("name", ["max_tokens", "maxToken"])
async def test_the_refusal_of_an_option_names_the_one_that_was_meant(run_javascript: RunProgram, name: str) -> None:
    body = f"""
        try {{ new Context(model).generate(Sampler.argmax(), {{ {name}: 5 }} as any); }}
        catch (error: any) {{ return error.message; }}
    """
    assert "did you mean maxTokens?" in await value(run_javascript, body)


async def test_bids_are_set_and_idle_ends_with_its_block(run_javascript: RunProgram) -> None:
    body = """
        using context = new Context(model).user('hello');
        context.setBid(0.5);
        { using _ = context.idle(); }
        return [scheduling.rent(context), scheduling.latency(context)].every(Number.isFinite);
    """
    assert await value(run_javascript, body, names="Context, Model, scheduling") is True
