"""Runtime, model, tokenizer, contexts, raw pages, scheduling."""

import inferlet
from inferlet import Context, Error, Model, Sampler, chat, runtime, scheduling
from registry import proves


def refused(code, call):
    """Whether a call fails with this code."""
    try:
        call()
    except Error as error:
        return error.code == code
    return False


def tokens(count):
    """Some valid token ids."""
    return [40 + index % 200 for index in range(count)]


async def filled(count):
    """A context with so many tokens in its pages."""
    context = Context(Model.default()).append(tokens(count))
    await context.flush()
    return context


async def ends_alike(first, second):
    """Whether both go on with the same tokens."""
    ends = []
    for each in (first, second):
        ends.append(await each.generate(Sampler.argmax(), max_tokens=6, stop=[]).collect_tokens())
    return ends[0] == ends[1]


NAMES = """
    Model Tokenizer Context Adapter Forward Output Generator GenStep Sampler Logits Distribution Logprob Logprobs
    Entropy Grammar GrammarConstraint Matcher Subscription McpSession Schema Constraint Speculator
    json_schema any_json regex ebnf grammar chat reasoning tools runtime scheduling session messaging mcp
"""


@proves("import")
def names():
    assert [name for name in NAMES.split() if not hasattr(inferlet, name)] == []


@proves("main(input)")
def takes_input(input):
    assert input["row"] == "main(input)"


@proves("main returns JSON")
def returns_json():
    return {"list": [1, 2.5, None, True], "text": "zażółć"}


@proves("runtime.models", "Model.load")
def models():
    names = runtime.models()
    assert len(names) >= 1
    assert Model.load(names[0]).tokenizer().encode("a")
    assert refused("model-not-served", lambda: Model.load("no such model"))


@proves("runtime.version")
def version():
    assert [part.isdigit() for part in runtime.version().split(".")] == [True] * 3


@proves("runtime.instanceId")
def instance_id():
    assert runtime.instance_id() == runtime.instance_id() != ""


@proves("runtime.username")
def username():
    assert runtime.username() == "local"


@proves("model.tokenizer", "tokenizer.encode", "tokenizer.decode")
def tokenizer():
    tokenizer = Model.default().tokenizer()
    for text in ("Hello, world", "zażółć gęślą jaźń 🥧", " leading", ""):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("<|im_end|>")) == 1


@proves("tokenizer.vocabs")
def vocabs():
    ids, values = Model.default().tokenizer().vocabs()
    assert len(ids) == len(values) == len(set(ids)) > 1000
    known = dict(zip(ids, values, strict=True))
    pieces = Model.default().tokenizer().encode("Hello 🥧")
    assert b"".join(known[token] for token in pieces).decode() == "Hello 🥧"


@proves("tokenizer.specialTokens")
def special_tokens():
    ids, values = Model.default().tokenizer().special_tokens()
    assert dict(zip(values, ids, strict=True))[b"<|im_end|>"] in chat.stop_tokens(Model.default())


@proves("tokenizer.splitRegex")
def split_regex():
    assert isinstance(Model.default().tokenizer().split_regex(), str)


@proves("new Context", "context.seqLen", "context.buffer", "context.append", "context.flush")
async def new_context():
    context = Context(Model.default())
    assert (context.seq_len, context.buffer()) == (0, [])
    assert context.append(tokens(20)) is context
    assert (context.seq_len, context.buffer()) == (0, tokens(20))
    await context.flush()
    assert (context.seq_len, context.buffer()) == (20, [])


@proves("context.model", "context.pageSize", "tokensPerPage")
def facts():
    model = Model.default()
    context = Context(model)
    assert context.model is model
    assert context.page_size == context.tokens_per_page() == 16


@proves("context.system", "context.user", "context.assistant", "context.cue", "context.seal")
def filling():
    model = Model.default()
    tokenizer = model.tokenizer()
    context = Context(model).system("Be brief.").user("Hi").assistant("Hello").user("Bye").cue()
    text = tokenizer.decode(context.buffer())
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
    )
    before = len(context.buffer())
    assert tokenizer.decode(context.seal().buffer()[before:]).startswith("<|im_end|>")


@proves("context.appendText")
def append_text():
    model = Model.default()
    assert Context(model).append_text("Hello").buffer() == model.tokenizer().encode("Hello")


@proves("context.fork")
async def fork():
    context = await filled(20)
    context.append([50])
    twin = context.fork()
    assert (twin.seq_len, twin.buffer()) == (20, [50])
    twin.append([51])
    await twin.flush()
    assert (context.seq_len, context.buffer(), twin.seq_len) == (20, [50], 22)


@proves("context.save", "Context.open", "Context.delete")
async def save():
    model, name = Model.default(), "api-row-save"
    context = await filled(40)
    context.save(name)
    context.append(tokens(3))
    await context.flush()
    context.save(name)  # replaces
    assert refused("snapshot-exists", lambda: context.save(name, overwrite=False))
    assert Context.open(model, name).seq_len == 43
    Context.delete(model, name)
    assert Context.open(model, name) is None


@proves("Context.take")
async def take():
    model = Model.default()
    (await filled(17)).save("api-row-take")
    assert Context.take(model, "api-row-take").seq_len == 17
    assert Context.open(model, "api-row-take") is None
    assert Context.take(model, "api-row-take") is None


@proves("context.snapshot")
async def snapshot():
    context = await filled(5)
    names = {context.snapshot(), context.snapshot()}
    assert len(names) == 2
    for name in names:
        assert Context.take(context.model, name).seq_len == 5


@proves("context.release")
async def release():
    context = await filled(5)
    context.release()
    assert refused("released", context.fork)


@proves("context disposal")
async def disposal():
    with await filled(5) as context:
        inner = context
    assert refused("released", inner.fork)


@proves("context.truncate")
async def truncate():
    context = await filled(21)
    context.truncate(3)
    assert context.seq_len == 18
    assert await ends_alike(context, await filled(18))
    context.truncate(100)
    assert context.seq_len == 16


@proves("context.setBid")
def set_bid():
    context = Context(Model.default())
    context.set_bid(2.5)
    context.set_bid(0)
    assert refused("bad-bid", lambda: context.set_bid(float("nan")))


@proves("context.idle")
def idle():
    context = Context(Model.default())
    with context.idle():
        assert context.seq_len == 0


@proves("reserveWorkingPages", "workingPageCount", "releaseWorkingPages")
async def pages():
    context = await filled(20)
    context.reserve_working_pages(3)
    assert context.working_page_count() == 4
    context.release_working_pages(2)
    assert [context.working_page_count(), context.seq_len] == [2, 20]
    context.release_working_pages(2)
    assert [context.working_page_count(), context.seq_len] == [0, 16]


@proves("commitWorkingPages", "committedPageCount", "workingPageTokenCount")
async def commit():
    context = Context(Model.default())
    await context.forward().input_at(tokens(37), range(37)).execute()
    assert [context.committed_page_count(), context.working_page_token_count()] == [0, 37]
    assert refused("not-committable", lambda: context.commit_working_pages(3))
    context.commit_working_pages(2)
    assert [context.committed_page_count(), context.working_page_token_count()] == [2, 5]
    assert await ends_alike(context, await filled(37))


@proves("truncateWorkingPageTokens")
async def truncate_pages():
    context = await filled(21)
    context.truncate_working_page_tokens(3)
    assert [context.seq_len, context.working_page_token_count(), context.working_page_count()] == [18, 2, 1]
    assert await ends_alike(context, await filled(18))


@proves("scheduling.price")
def price():
    assert scheduling.price() == 1.0


@proves("scheduling.balance", "scheduling.dividend")
def wallet():
    assert scheduling.balance(Model.default()) > 0
    assert scheduling.dividend(Model.default()) >= 0


@proves("scheduling.rent", "scheduling.latency")
async def rent():
    context = await filled(5)
    await context.append([40]).generate(Sampler.argmax(), max_tokens=40, stop=[]).collect_tokens()
    assert scheduling.rent(context) >= 0
    assert scheduling.latency(context) > 0
