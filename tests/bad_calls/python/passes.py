"""Tokens, positions, numbers, masks and lists of passes and generations."""

from calls import TOO_MANY, calls, filled, fresh, generate, run, vocabulary

from inferlet import Distribution, Entropy, Logprob, Logprobs, Model, Sampler, Window

NAN, INFINITY = float("nan"), float("inf")


class Fixed:
    """A speculator that guesses always the same."""

    def __init__(self, tokens, positions):
        self.drafted = tokens, positions

    def draft(self):
        return self.drafted

    def accept(self, tokens):
        pass

    def rollback(self, count):
        pass

    def reset(self):
        pass


class Masked:
    """A constraint with always the same mask."""

    def __init__(self, mask):
        self.mask = mask

    def step(self, accepted):
        return self.mask


async def at(tokens, positions):
    forward = fresh().forward().input_at(tokens, positions)
    forward.sample([0], Sampler.argmax())
    await forward.execute()


async def unordered():
    """A generation after tokens whose positions do not increase."""
    context = await filled(4)
    await context.forward().input_at([60, 61], [2, 2]).execute()
    await context.append([62]).generate(Sampler.argmax(), max_tokens=2, auto_flush=False).collect_tokens()


async def unseen():
    """A pass that may see a page that was discarded."""
    context = await filled(40)
    context.pages.discard(range(1))
    await context.append([60]).flush()


async def foreign_output():
    context = fresh()
    one, two = context.forward().input([60]), context.forward().input([61])
    handle = one.sample([0], Sampler.argmax())
    (await two.execute()).token(handle)


calls(
    {
        "pass without input": lambda: fresh().forward().execute(),
        "output of another pass": foreign_output,
        "negative token": lambda: run(tokens=[-1]),
        "token of 40 bits": lambda: run(tokens=[2**40]),
        "token that is no whole number": lambda: run(tokens=[1.5]),
        "token that is text": lambda: run(tokens=["a"]),
        "token beyond the vocabulary": lambda: run(tokens=[vocabulary()]),
        "token beyond the vocabulary in a generation": lambda: generate([vocabulary()]),
        "guess beyond the vocabulary": lambda: generate(speculator=Fixed([vocabulary()], [])),
        "guesses and positions of different number": lambda: generate(speculator=Fixed([60, 61], [1])),
        "both speculators": lambda: generate(speculator=Fixed([], []), system_speculation=True),
        "probe of a token beyond the vocabulary": lambda: run(fill=lambda f: f.probe(0, Logprob(vocabulary()))),
        "probe of a negative token": lambda: run(fill=lambda f: f.probe(0, Logprobs([-1]))),
        "decoding of a token beyond the vocabulary": lambda: Model.default().tokenizer().decode([vocabulary()]),
        "prompt longer than the context": lambda: run(tokens=[60] * 5000),
        "positions of another number": lambda: at([60, 61], [0]),
        "negative position": lambda: at([60], [-1]),
        "position beyond the context": lambda: at([60], [2**31]),
        "generation after positions that do not increase": unordered,
        "discarded page that may be seen": unseen,
        "sampler beyond the input": lambda: run(fill=lambda f: f.sample([2], Sampler.argmax())),
        "probe beyond the input": lambda: run(fill=lambda f: f.probe(2, Entropy())),
        "probe before the input": lambda: run(fill=lambda f: f.probe(-1, Entropy())),
        "more slots than a pass may read": lambda: run(fill=lambda f: f.sample([0] * TOO_MANY, Sampler.argmax())),
        "temperature that is no number": lambda: run(sampler=Sampler.top_p(NAN, 0.5)),
        "endless temperature": lambda: run(sampler=Sampler.top_k(INFINITY, 3)),
        "negative temperature": lambda: run(sampler=Sampler.multinomial(-1.0)),
        "negative temperature in a generation": lambda: generate(sampler=Sampler.top_p(-1.0, 0.5)),
        "temperature of a probe that is no number": lambda: run(fill=lambda f: f.probe(0, Distribution(NAN, 3))),
        "p of 0": lambda: run(sampler=Sampler.top_p(1.0, 0.0)),
        "p above 1": lambda: run(sampler=Sampler.top_k_top_p(1.0, 3, 1.5)),
        "p that is no number": lambda: run(sampler=Sampler.top_p(1.0, NAN)),
        "min-p below 0": lambda: run(sampler=Sampler.min_p(1.0, -0.1)),
        "negative k": lambda: run(sampler=Sampler.top_k(1.0, -1)),
        "k of 32 bits": lambda: run(sampler=Sampler.top_k(1.0, 2**31)),
        "no draws": lambda: run(sampler=Sampler.multinomial(1.0, 0)),
        "too many draws": lambda: run(sampler=Sampler.multinomial(1.0, 5000)),
        "negative limit": lambda: generate(max_tokens=-1),
        "negative limit step by step": lambda: generate(max_tokens=-1, constrain=Masked([])),
        "negative stop token": lambda: generate(stop=[-1]),
        "negative seed": lambda: generate(seed=-1),
        "seed of noise without an adapter": lambda: generate(zo_seed=3),
        "window without size": lambda: generate(window=Window(0)),
        "unknown option": lambda: generate(temperature=1.0),
        "constraint that is none": lambda: generate(constrain="json"),
        "attention mask with too few rows": lambda: run(fill=lambda f: f.attention_mask([[0, 1]])),
        "attention mask with a row too long": lambda: run(fill=lambda f: f.attention_mask([[0, 1], [0, 9]])),
        "attention mask with a negative run": lambda: run(fill=lambda f: f.attention_mask([[0, 1], [0, -2]])),
        "logit mask that is too long": lambda: run(fill=lambda f: f.mask([0, 10**6])),
        "logit mask that allows nothing": lambda: run(fill=lambda f: f.mask([5])),
        "logit mask of a constraint that is too long": lambda: generate(constrain=Masked([0, 10**6])),
        "logit mask of a generation that is too long": lambda: generate(logit_mask=[0, 10**6]),
        "mask of too many runs": lambda: run(fill=lambda f: f.mask([1] * TOO_MANY)),
        "attention mask of too many runs": lambda: run(
            fill=lambda f: f.attention_mask([[1] * (TOO_MANY // 2 + 1)] * 2)
        ),
        "too many tokens to decode": lambda: Model.default().tokenizer().decode([60] * TOO_MANY),
    }
)
