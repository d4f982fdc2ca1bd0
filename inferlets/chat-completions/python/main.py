"""Chat completions: a conversation in, texts or calls of tools out.

A server launches it for each request to `/v1/chat/completions`; docs/http.md tells what it is given and must return.
"""

import asyncio

from inferlet import (
    Adapter,
    Context,
    Error,
    GrammarConstraint,
    Logprob,
    Model,
    Sampler,
    chat,
    ebnf,
    json_schema,
    regex,
    session,
    tools,
)

HELLO = [{"role": "user", "content": "Hello! Who are you?"}]


async def main(input):
    model = Model.load(input["model"]) if "model" in input else Model.default()
    n = input.get("n", 1)
    many = max(n, input.get("best_of", 1))
    with Context(model) as context:
        fill(context, input.get("messages", HELLO), offered_tools(input))
        if many > 1:
            await context.flush()  # all choices share these pages
        answers = await asyncio.gather(*(choose(context, input, index) for index in range(many)))
        choices, tokens, counts = zip(*answers, strict=True)
        if many > n:
            scores = await asyncio.gather(*(score(context, each) for each in tokens))
            best = sorted(range(many), key=lambda index: scores[index], reverse=True)
            choices = [choices[index] for index in best[:n]]
        usage = {
            "prompt_tokens": counts[0]["prompt"],
            "cached_tokens": max(context.reused_tokens, counts[0]["reused"]),
            "completion_tokens": sum(count["completion"] for count in counts),
            "reasoning_tokens": sum(count["reasoning"] for count in counts),
        }
    return {"choices": list(choices), "usage": usage}


async def choose(context, input, index):
    """One choice, its tokens, and how many were in the prompt, known already, and new."""
    model, offered, stop = context.model, offered_tools(input), input.get("stop", [])
    with context.fork() as branch:
        branch.cue()
        prompt_tokens = branch.seq_len + len(branch.buffer())
        limit = max(1, min(input.get("max_tokens", 1 << 31), input.get("context_length", 4096) - prompt_tokens))
        generator = branch.generate(
            sampler(input),
            max_tokens=limit,
            stop_texts=stop,
            repetition_penalty=input.get("repetition_penalty"),
            frequency_penalty=input.get("frequency_penalty"),
            presence_penalty=input.get("presence_penalty"),
            logit_bias={int(token): bias for token, bias in input.get("logit_bias", {}).items()},
            logprobs=input.get("logprobs"),
            constrain=constraint(model, input),
            adapter=adapter(model, input),
            seed=seed(input, index),
            auto_flush=False,
            stop=chat.stop_tokens(model),
        )
        tokens, calls, is_whole = [], [], True
        if offered:
            turn = await follow_turn(generator, input, limit)
            text, tokens, calls, is_whole = turn.text, turn.tokens, turn.calls, turn.is_whole
        elif input.get("best_of", 1) <= input.get("n", 1):
            if input.get("stream") and "logprobs" in input:
                text = await follow(generator)
            else:
                # Where it streams, the host sends each piece itself: no code runs between two tokens.
                text = await generator.collect_text(echo=input.get("stream", False), reasoning=False)
        else:
            tokens = await generator.collect_tokens(reasoning=False)
            text = visible_text(model, tokens, stop)
        cut = is_cut(generator, limit)
        reason = "tool_calls" if calls and (is_whole or not cut) else "length" if cut else "stop"
        choice = {"text": text, "finish_reason": reason, "tool_calls": calls}
        if "logprobs" in input:
            choice["logprobs"] = told(generator.logprobs)
        counts = {
            "prompt": prompt_tokens,
            "reused": branch.reused_tokens,
            "completion": generator.tokens_generated,
            "reasoning": generator.reasoning_tokens,
        }
        return choice, tokens, counts


def is_cut(generator, limit):
    """Whether the answer ended at its limit alone."""
    return generator.tokens_generated >= limit and generator.can_continue()


async def follow_turn(generator, input, limit):
    """Read text and calls; where the answer is streamed, tell them as they come."""
    model = generator.context.model
    turn, num_told = Turn(model, input), 0
    if input.get("stream"):
        async for tokens in generator.tokens(reasoning=False):
            if "logprobs" in input:
                session.send({"logprobs": told(generator.logprobs[num_told:])})
                num_told = len(generator.logprobs)
            turn.take(tokens)
    else:
        turn.take(await generator.collect_tokens(reasoning=False))
    turn.end([] if is_cut(generator, limit) else chat.stop_tokens(model)[:1])
    return turn


class Turn:
    """The text of a turn and its calls, of which all is there or, where one `is_whole` not, the beginning."""

    def __init__(self, model, input):
        self.reader = tools.Reader(model, stop_texts=input.get("stop", []))
        self.streams, self.takes_all = input.get("stream", False), input.get("parallel_tool_calls", True)
        self.tokens, self.text, self.calls = [], "", []
        self.is_whole, self.is_over = True, False

    def take(self, tokens):
        self.tokens += tokens
        self.say(self.reader.feed(tokens))

    def end(self, stop):
        """The turn ended with a stop token, or was cut."""
        self.say([*self.reader.feed(stop), *self.reader.finish()])

    def say(self, said):
        pieces = []
        for one in said:
            match one:
                case tools.Said.Text(text):
                    self.text += text
                    if self.streams:
                        print(text, end="", flush=True)
                case tools.Said.Call(name):
                    self.is_over = bool(self.calls) and not self.takes_all
                    if not self.is_over:
                        self.calls.append({"name": name, "arguments": ""})
                        self.is_whole = False
                        pieces.append({"name": name})
                case tools.Said.Args(text) if not self.is_over:
                    self.calls[-1]["arguments"] += text
                    pieces.append({"arguments": text})
                case tools.Said.Called() if not self.is_over:
                    self.is_whole = True
        if pieces and self.streams:
            session.send({"tool_calls": pieces})


async def follow(generator):
    """Print the text as it comes; before each piece, tell how likely the tokens so far were."""
    text, num_told = "", 0
    async for piece in generator.text(reasoning=False):
        session.send({"logprobs": told(generator.logprobs[num_told:])})
        num_told = len(generator.logprobs)
        print(piece, end="", flush=True)
        text += piece
    return text


def told(logprobs):
    """How likely tokens were, as the server takes it."""
    lowest = -9999.0  # JSON has no infinity
    return [
        {"token": one.token, "logprob": max(one.logprob, lowest), "top": [(t, max(p, lowest)) for t, p in one.top]}
        for one in logprobs
    ]


async def score(context, tokens):
    """How likely the model finds each token of a choice, on average, as a natural logarithm."""
    if not tokens:
        return float("-inf")
    cue = chat.cue(context.model)
    with context.fork() as branch:
        forward = branch.forward().input([*cue, *tokens[:-1]])
        probes = [forward.probe(index, Logprob(token)) for index, token in enumerate(tokens, len(cue) - 1)]
        output = await forward.execute()
        return sum(output.logprobs(probe)[0] for probe in probes) / len(tokens)


def fill(context, messages, offered):
    """Put the conversation into the context."""
    model = context.model
    if offered:
        context.append(tools.equip_prefix(model, offered))
    for message in messages:
        match message["role"]:
            case "system":
                context.system(message["content"])
            case "user":
                context.user(message["content"])
            case "tool":
                context.append(tools.answer_prefix(model, message["name"], message["content"]))
            case "assistant" if "tool_calls" in message:
                context.append(message["tokens"])  # how a model writes calls is known to the server
            case "assistant":
                context.assistant(message["content"])


def offered_tools(input):
    """The tools that the model is told of."""
    return [] if input.get("tool_choice") == "none" else input.get("tools", [])


def constraint(model, input):
    """What the answer must be: a call, JSON, or text of some form; None if the model is free."""
    choice, offered = input.get("tool_choice", "auto"), offered_tools(input)
    if offered and choice != "auto":
        wanted = [tool for tool in offered if choice == "required" or tool["name"] == choice["name"]]
        many = choice == "required" and input.get("parallel_tool_calls", True)
        matcher = tools.native_matcher(model, wanted, many=many)
        if matcher is None:
            raise Error("no-tool-format", "this model's calls cannot be forced")
        return GrammarConstraint(matcher)
    if "json_schema" in input:
        return json_schema(input["json_schema"])
    if "regex" in input:
        return regex(input["regex"])
    return ebnf(input["grammar"]) if "grammar" in input else None


def visible_text(model, tokens, stop):
    """The text of a turn up to the first stop text, without what the model thought."""
    decoder = chat.Decoder(model, reasoning=False)
    event = decoder.feed([*tokens, chat.stop_tokens(model)[0]])
    while not isinstance(event, chat.Event.Done):
        event = decoder.feed([])
    ends = [event.text.find(text) for text in stop if text in event.text]
    return event.text[: min(ends)] if ends else event.text


def sampler(input):
    temperature, p = input.get("temperature", 1.0), input.get("top_p", 1.0)
    if "top_k" in input:
        return Sampler.top_k_top_p(temperature, input["top_k"], p)
    return Sampler.top_p(temperature, p)


def seed(input, index):
    """The seed of one choice, far from those of its neighbours; None if nothing needs to be repeatable."""
    return (input["seed"] ^ index * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF if "seed" in input else None


def adapter(model, input):
    """The adapter that was asked for."""
    if "adapter" not in input:
        return None
    found = Adapter.open(model, input["adapter"])
    if found is None:
        raise Error("adapter-not-found", f"there is no adapter {input['adapter']!r}")
    return found
