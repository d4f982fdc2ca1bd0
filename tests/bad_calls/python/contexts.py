"""Handles of contexts and other things that are stale, dropped or of something else; pages; names."""

from calls import call, calls, filled, fresh
from wit_world.imports import context as wit_context
from wit_world.imports import generation as wit_generation
from wit_world.imports import inference, pages, scheduling, zo

from inferlet import Adapter, Context, Grammar, Matcher, Model, Sampler, loop, mcp, runtime


def released():
    context = fresh()
    context.release()
    return context


def dropped():
    handle = fresh().wit
    handle.__exit__(None, None, None)
    return handle


def destroyed():
    handle = fresh().wit
    handle.destroy()
    return handle


calls(
    {
        "fork of a released context": lambda: released().fork(),
        "flush of a released context": lambda: released().append([60]).flush(),
        "pass in a released context": lambda: released().forward().input([60]).execute(),
        "generation in a released context": lambda: released().generate(Sampler.argmax()),
        "save of a released context": lambda: released().save("x"),
        "snapshot of a released context": lambda: released().snapshot(),
        "suspension of a released context": lambda: released().suspend(),
        "bid for a released context": lambda: released().set_bid(1.0),
        "rent of a released context": lambda: scheduling.rent(released().wit),
        "truncation of a released context": lambda: released().truncate(1),
        "second release": lambda: released().release(),
        "fork of a destroyed context": lambda: destroyed().fork(),
        "save of a destroyed context": lambda: destroyed().save("x"),
        "snapshot of a destroyed context": lambda: destroyed().snapshot(),
        "suspension of a destroyed context": lambda: destroyed().suspend(),
        "reservation for a destroyed context": lambda: destroyed().reserve_working_pages(1),
        "commit in a destroyed context": lambda: destroyed().commit_working_pages(0),
        "discard in a destroyed context": lambda: pages.discard(destroyed(), 0, 0),
        "pages of a destroyed context": lambda: destroyed().working_page_count(),
        "release of pages of a destroyed context": lambda: destroyed().release_working_pages(3),
        "truncation of a destroyed context": lambda: destroyed().truncate_working_page_tokens(3),
        "bid for a destroyed context": lambda: destroyed().bid(1.0),
        "destruction twice": lambda: destroyed().destroy(),
        "use of a dropped handle": lambda: dropped().fork(),
        "count of a dropped handle": lambda: dropped().committed_page_count(),
        "drop of a dropped handle": lambda: dropped().__exit__(None, None, None),
        "dropped handle as an argument": lambda: inference.ForwardPass(Model.default().wit).context(dropped()),
        "handle of another type": lambda: inference.ForwardPass(Model.default().wit).context(Model.default().wit),
        "text in place of a handle": lambda: inference.ForwardPass(Model.default().wit).context("context"),
        "name that is no text": lambda: Model.load(3),
        "text with half a character": lambda: Model.load("\ud800"),
        "unknown model": lambda: Model.load("no such model"),
        "unknown snapshot": lambda: Context.delete(Model.default(), "no such snapshot"),
        "opening of an unknown snapshot": lambda: Context.open(Model.default(), "no such snapshot"),
        "unknown program": lambda: runtime.launch("no-such-program"),
        "unknown MCP server": lambda: mcp.connect("no such server"),
        "too many pages": lambda: fresh().wit.reserve_working_pages(2**32 - 1),
        "negative number of pages": lambda: fresh().wit.reserve_working_pages(-1),
        "commit of pages that are not full": lambda: fresh().wit.commit_working_pages(1),
        "discard of pages that are not committed": lambda: pages.discard(fresh().wit, 0, 2),
        "release of more pages than there are": lambda: fresh().wit.release_working_pages(5),
        "truncation of more tokens than there are": lambda: fresh().wit.truncate_working_page_tokens(5),
        "bid that is no number": lambda: fresh().set_bid(float("nan")),
        "negative bid": lambda: fresh().set_bid(-1.0),
        "endless bid": lambda: fresh().set_bid(float("inf")),
        "bid that is text": lambda: fresh().wit.bid("much"),
        "saving twice without overwriting": lambda: save_twice(),
    }
)


async def save_twice():
    context = await filled(3)
    context.save("taken")
    try:
        context.save("taken", overwrite=False)
    finally:
        Context.delete(Model.default(), "taken")


@call("pass whose context is destroyed meanwhile")
async def destroyed_meanwhile():
    context = fresh()
    context.pages.reserve(1)
    forward_pass = inference.ForwardPass(Model.default().wit)
    forward_pass.context(context.wit)
    forward_pass.input_tokens([60], [0])
    output = forward_pass.execute()
    context.wit.destroy()
    await loop.output(output)


def options(max_tokens, *, notify_every=0):
    return wit_generation.Options(
        tokens=[60],
        sampler=Sampler.argmax().wit,
        adjustment=None,
        logprobs=None,
        max_tokens=max_tokens,
        stop=[],
        stop_texts=[],
        logit_mask=None,
        speculate=False,
        seed=None,
        counter=0,
        adapter_seed=None,
        window=None,
        notify_every=notify_every,
        pipe=False,
        hide_reasoning=False,
    )


@call("generation in a destroyed context")
def generation_destroyed():
    wit_generation.Generation.start(destroyed(), options(2), [], None)


@call("context in the midst of a generation")
async def busy():
    ended = True
    while ended:  # on a busy machine the model may be through with its whole length before it is this program's turn
        with fresh() as context:
            running = wit_generation.Generation.start(context.wit, options(None, notify_every=1), [], None)
            try:
                ended = (await loop.progress(running)).finish is not None
                pages.discard(context.wit, 0, 0)
                ended = ended or (await loop.progress(running)).finish is not None
            finally:
                running.cancel()


@call("adapter that is dropped")
def adapter_dropped():
    adapter = Adapter.create(Model.default(), "bad-calls-dropped")
    with adapter:
        adapter.destroy()
    adapter.save("/scratch/x")


@call("adapter that is destroyed")
async def adapter_destroyed():
    adapter = Adapter.create(Model.default(), "bad-calls-destroyed")
    adapter.destroy()
    await fresh().forward().input([60]).adapter(adapter).execute()


@call("adapter without a name")
def adapter_nameless():
    Adapter.create(Model.default(), "")


@call("fork of an adapter without a name")
def adapter_fork_nameless():
    with Adapter.create(Model.default(), "bad-calls-forked") as adapter:
        try:
            with adapter.fork("") as copy:
                copy.save("/scratch/none")
        finally:
            adapter.destroy()


@call("adapter whose name is taken")
def adapter_taken():
    adapter = Adapter.create(Model.default(), "bad-calls-taken")
    try:
        Adapter.create(Model.default(), "bad-calls-taken")
    finally:
        adapter.destroy()


def on_adapter(name, use):
    @call(name)
    def misuse():
        adapter = Adapter.create(Model.default(), "bad-calls-misused")
        try:
            use(adapter.wit)
        finally:
            adapter.destroy()


NAN = float("nan")
on_adapter("adapter file that is not there", lambda adapter: adapter.load("/scratch/none"))
on_adapter("adapter without weights to save", lambda adapter: adapter.save("/scratch/none"))
on_adapter("search of rank 0", lambda adapter: zo.initialize(adapter, 0, 1.0, 4, 0.5, 0.1))
on_adapter("search with an alpha that is no number", lambda adapter: zo.initialize(adapter, 2, NAN, 4, 0.5, 0.1))
on_adapter("search with a negative sigma", lambda adapter: zo.initialize(adapter, 2, 1.0, 4, 0.5, -0.1))
on_adapter("search without population", lambda adapter: zo.initialize(adapter, 2, 1.0, 0, 0.5, 0.1))
on_adapter("search with a rank of text", lambda adapter: zo.initialize(adapter, "two", 1.0, 4, 0.5, 0.1))
on_adapter("update before the search begins", lambda adapter: zo.update(adapter, [1.0], [1], 0.5))
on_adapter("seed that is too large", lambda adapter: zo.update(adapter, [1.0], [2**63], 0.5))


@call("grammar that is dropped")
def grammar_dropped():
    grammar = Grammar.json()
    grammar.wit.__exit__(None, None, None)
    Matcher(grammar, Model.default().tokenizer())


@call("MCP session that is closed")
def session_closed():
    session = mcp.connect("rows")
    session.close()
    session.list_tools()


@call("handle made up")
def made_up():
    return wit_context.Context.__new__(wit_context.Context).committed_page_count()
