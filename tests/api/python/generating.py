"""Generations: options, builders, collectors, steps, speculation, adapters."""

import json

from contexts import refused, tokens
from inferlet import (
    Adapter,
    Context,
    Distribution,
    Entropy,
    Logits,
    Model,
    Sampler,
    Speculator,
    chat,
    json_schema,
    regex,
    zo,
)
from registry import proves

ARGMAX = Sampler.argmax()


def asked(text="What is the capital of France?"):
    """A context with a question in its buffer."""
    return Context(Model.default()).user(text)


def decoded(token_ids):
    """The text of tokens."""
    return Model.default().tokenizer().decode(token_ids)


async def greedy(count, **options):
    """The first greedy tokens after a fixed prompt."""
    context = Context(Model.default()).append(tokens(9))
    return await context.generate(ARGMAX, max_tokens=count, stop=[], auto_flush=False, **options).collect_tokens()


@proves("generate maxTokens", "generator.collectTokens", "generator.tokensGenerated", "generator.isDone")
async def max_tokens():
    generator = asked().generate(ARGMAX, max_tokens=3, stop=[])
    assert (generator.tokens_generated, generator.is_done) == (0, False)
    made = await generator.collect_tokens()
    assert (len(made), generator.tokens_generated, generator.is_done) == (3, 3, True)


@proves("generate stop")
async def stop():
    made = await greedy(8)
    assert await greedy(8) == made
    context = Context(Model.default()).append(tokens(9))
    stopped = context.generate(ARGMAX, max_tokens=8, stop=[made[4]], auto_flush=False)
    assert await stopped.collect_tokens() == made[: made.index(made[4])]


@proves("generate constrain", "regex")
async def constrain():
    text = await asked().generate(ARGMAX, max_tokens=20, constrain=regex("[0-9]{3}")).collect_text()
    assert len(text) == 3
    assert text.isdigit()


@proves("generate constrain several")
async def constrain_several():
    both = [regex("[0-9]{2,9}"), regex("(1|2|a)*")]
    text = await asked().generate(ARGMAX, max_tokens=6, constrain=both).collect_text()
    assert len(text) >= 2
    assert set(text) <= {"1", "2"}


@proves("generate logitMask")
async def logit_mask():
    made = await greedy(5, logit_mask=[60, 2])
    assert set(made) <= {60, 61}


class Echo(Speculator):
    """Guesses a fixed continuation, and remembers what it is told."""

    def __init__(self, continuation):
        self.continuation, self.told, self.resets = list(continuation), [], 0
        self.undone = 0

    def draft(self):
        place = len(self.told)
        guess = self.continuation[place + 1 : place + 4]
        return guess, [9 + place + 1 + index for index in range(len(guess))]

    def accept(self, tokens):
        self.told += tokens

    def rollback(self, n):
        self.undone += n

    def reset(self):
        self.resets += 1
        self.told.clear()


@proves("generate speculator", "speculator.draft", "speculator.accept")
async def speculator():
    plain = await greedy(12)
    echo = Echo(plain)
    assert await greedy(12, speculator=echo) == plain
    assert echo.told == plain


@proves("speculator.rollback")
async def rollback():
    plain = await greedy(12)
    wrong = Echo([token if index % 3 else 7 for index, token in enumerate(plain)])
    assert await greedy(12, speculator=wrong) == plain
    assert wrong.undone > 0


@proves("speculator.reset")
async def reset():
    plain = await greedy(12)
    echo = Echo(plain)
    for generations in (1, 2):
        assert await greedy(12, speculator=echo) == plain
        assert echo.resets == generations


@proves("generate systemSpeculation")
async def system_speculation():
    assert await greedy(24, system_speculation=True) == await greedy(24)
    context = Context(Model.default()).append(tokens(9))
    assert refused("bad-option", lambda: context.generate(ARGMAX, speculator=Echo([]), system_speculation=True))


@proves("generate adapter", "generator.adapter", "forward.adapter", "Adapter.create", "adapter disposal")
async def adapter():
    with Adapter.create(Model.default(), "api-row-adapter") as overlay:
        zo.initialize(overlay, 4, 8.0, 4, 0.5, 0.01)
        assert await greedy(6, adapter=overlay) == await greedy(6)  # its second factor is zero
        context = Context(Model.default()).append(tokens(9))
        built = context.generate(ARGMAX, max_tokens=6, stop=[], auto_flush=False).adapter(overlay)
        assert await built.collect_tokens() == await greedy(6)
        assert await last_logits(overlay) == await last_logits()
        assert await last_logits(overlay, zo_seed=3) != await last_logits()
        stays = Adapter.open(Model.default(), "api-row-adapter")
    assert refused("released", lambda: overlay.fork("api-row-adapter-2"))
    stays.destroy()


async def last_logits(adapter=None, zo_seed=None):
    """What a pass over fixed tokens gives at its last row."""
    step = Context(Model.default()).forward().input(tokens(4))
    if adapter is not None:
        step.adapter(adapter)
    if zo_seed is not None:
        step.zo_seed(zo_seed)
    handle = step.probe(3, Logits())
    return (await step.execute()).logits(handle)


@proves("generate zoSeed", "generator.zoSeed", "forward.zoSeed", "zo.initialize")
async def zo_seed():
    with Adapter.create(Model.default(), "api-row-zo") as overlay:
        zo.initialize(overlay, 4, 8.0, 4, 0.5, 0.5)
        moved = await greedy(8, adapter=overlay, zo_seed=3)
        assert await greedy(8, adapter=overlay, zo_seed=3) == moved
        assert moved != await greedy(8, adapter=overlay)
        assert await last_logits(overlay, zo_seed=3) == await last_logits(overlay, zo_seed=3)
        assert await last_logits(overlay, zo_seed=3) != await last_logits(overlay, zo_seed=4)
        assert refused("adapter-unusable", lambda: zo.initialize(overlay, 4, 8.0, 4, 0.5, 0.5))
        context = Context(Model.default()).append(tokens(9))
        built = context.generate(ARGMAX, max_tokens=8, stop=[], auto_flush=False).adapter(overlay).zo_seed(3)
        assert await built.collect_tokens() == moved
        overlay.destroy()


@proves("generate horizon", "generator.horizon")
async def horizon():
    assert await greedy(4, horizon=4) == await greedy(4)
    context = Context(Model.default()).append(tokens(9))
    built = context.generate(ARGMAX, max_tokens=4, stop=[], auto_flush=False).horizon(100)
    assert await built.collect_tokens() == await greedy(4)


@proves("generate autoFlush")
async def auto_flush():
    model = Model.default()
    context = asked()
    before = len(context.buffer())
    context.generate(ARGMAX, max_tokens=1)
    assert context.buffer()[before:] == chat.cue(model)
    bare = asked()
    bare.generate(ARGMAX, max_tokens=1, auto_flush=False)
    assert len(bare.buffer()) == before


@proves("generator.maxTokens", "generator.stop", "generator.addStop")
async def builders():
    made = await greedy(8)
    context = Context(Model.default()).append(tokens(9))
    generator = context.generate(ARGMAX, auto_flush=False)
    assert generator.max_tokens(8).stop([made[5]]).add_stop([made[3]]) is generator
    assert await generator.collect_tokens() == made[: min(made.index(made[5]), made.index(made[3]))]


@proves("generator.constrain")
async def constrain_later():
    text = await asked().generate(ARGMAX, max_tokens=9).constrain(regex("ab?c")).collect_text()
    assert text in ("ac", "abc")


@proves("generator.probeEachStep")
async def probe_each_step():
    context = Context(Model.default()).append(tokens(9))
    generator = context.generate(ARGMAX, max_tokens=4, stop=[], auto_flush=False)
    handle = generator.probe_each_step(0, Entropy())
    seen = [(await step.execute()).entropy(handle) async for step in generator]
    assert len(seen) == 4
    assert all(entropy >= 0 for entropy in seen)


@proves("generator.collectText")
async def collect_text():
    assert await asked().generate(ARGMAX, max_tokens=40).collect_text() == "The capital of France is Paris."


@proves("generator.collectJson", "jsonSchema")
async def collect_json():
    schema = {"type": "object", "properties": {"kind": {"enum": ["cat", "dog"]}}, "required": ["kind"]}
    question = "Extract JSON with the keys kind: The animal is a cat."
    record = await asked(question).generate(ARGMAX, max_tokens=60).collect_json(schema=json.dumps(schema))
    assert record["kind"] in ("cat", "dog")
    again = asked(question).generate(ARGMAX, max_tokens=60)
    kind = await again.collect_json(schema=schema, parse=lambda value: value["kind"])
    assert kind == record["kind"]
    same = await asked(question).generate(ARGMAX, max_tokens=60, constrain=json_schema(schema)).collect_text()
    assert json.loads(same) == record


@proves("for await step", "step.execute", "output.tokens", "output.autoSampler")
async def steps():
    context = Context(Model.default()).append(tokens(9))
    made = []
    async for step in context.generate(ARGMAX, max_tokens=5, stop=[], auto_flush=False):
        output = await step.execute()
        assert output.token(output.auto_sampler) == output.tokens[0]
        made += output.tokens
    assert made == await greedy(5)


@proves("step.probe")
async def step_probe():
    context = Context(Model.default()).append(tokens(9))
    count = 0
    async for step in context.generate(ARGMAX, max_tokens=3, stop=[], auto_flush=False):
        handle = step.probe(0, Distribution(1.0, 1))
        assert len((await step.execute()).distribution(handle)[0]) == 1
        count += 1
    assert count == 3


@proves("step.clearSampler", "generator.accept")
async def accept():
    context = Context(Model.default()).append(tokens(9))
    generator = context.generate(ARGMAX, max_tokens=5, stop=[], auto_flush=False)
    made = []
    async for step in generator:
        last = len(context.buffer()) - 1 if context.buffer() else 8 if not made else 0
        handle = step.clear_sampler().probe(last, Distribution(1.0, 1))
        output = await step.execute()
        assert (output.auto_sampler, output.tokens) == (None, [])
        made += generator.accept([output.distribution(handle)[0][0]])
    assert made == await greedy(5)


@proves("fork in mid-generation")
async def fork_in_mid_generation():
    context = Context(Model.default()).append(tokens(9))
    generator = context.generate(ARGMAX, max_tokens=8, stop=[], auto_flush=False)
    made, rest = [], None
    async for step in generator:
        made += (await step.execute()).tokens
        if len(made) == 3:
            twin = context.fork()
            rest = await twin.generate(ARGMAX, max_tokens=5, stop=[], auto_flush=False).collect_tokens()
    assert made[3:] == rest


@proves("save in mid-generation")
async def save_in_mid_generation():
    context = Context(Model.default()).append(tokens(9))
    made = []
    async for step in context.generate(ARGMAX, max_tokens=6, stop=[], auto_flush=False):
        made += (await step.execute()).tokens
        if len(made) == 2:
            context.save("api-row-mid")
    opened = Context.take(context.model, "api-row-mid").append(made[1:2])  # the last token is not in the pages yet
    again = await opened.generate(ARGMAX, max_tokens=4, stop=[], auto_flush=False).collect_tokens()
    assert again == made[2:]


@proves("Adapter.open", "adapter.fork", "adapter.destroy")
def adapters():
    model = Model.default()
    first = Adapter.create(model, "api-row-first")
    zo.initialize(first, 2, 4.0, 4, 0.5, 0.01)
    second = first.fork("api-row-second")
    assert Adapter.open(model, "api-row-second") is not None
    assert Adapter.open(model, "no such adapter") is None
    for each in (first, second):
        each.destroy()
    assert Adapter.open(model, "api-row-first") is None


@proves("zo.update")
async def zo_update():
    with Adapter.create(Model.default(), "api-row-update") as overlay:
        zo.initialize(overlay, 4, 8.0, 4, 0.5, 0.5)
        zo.update(overlay, [1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4], 1.0)
        assert await last_logits(overlay) != await last_logits()
        assert refused("adapter-unusable", lambda: zo.update(overlay, [1.0], [1], 1.0))
        overlay.destroy()


@proves("adapter.save", "adapter.load")
async def adapter_files():
    model = Model.default()
    first = Adapter.create(model, "api-row-saved")
    zo.initialize(first, 2, 4.0, 4, 0.5, 0.5)
    zo.update(first, [1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4], 1.0)
    first.save("/scratch/api.safetensors")
    second = Adapter.create(model, "api-row-loaded")
    second.load("/scratch/api.safetensors")
    assert await greedy(6, adapter=second) == await greedy(6, adapter=first)
    first.destroy()
    second.destroy()
