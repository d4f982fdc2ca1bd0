"""Single forward passes: inputs, masks, samplers, probes, outputs."""

import math
import struct

from contexts import filled, refused, tokens
from inferlet import Context, Distribution, Entropy, Logits, Logprob, Logprobs, Model, Sampler
from registry import proves

ARGMAX = Sampler.argmax()


async def read(what, *, context=None):
    """Run one pass over fixed tokens and read `what` at its last row."""
    step = (context or Context(Model.default())).forward().input(tokens(6))
    handle = step.probe(5, what)
    return await step.execute(), handle


async def drawn(sampler, *, seed=1, mask=None):
    """The tokens that a sampler draws at the last row of fixed tokens."""
    step = Context(Model.default()).forward().input(tokens(6)).seed(seed)
    if mask is not None:
        step.mask(mask)
    handle = step.sample([5], sampler)
    return (await step.execute()).tokens_at(handle)


@proves("forward.input", "forward.execute", "forward.sample", "output.token", "Sampler.argmax", "forward.startPosition")
async def forward():
    context = await filled(7)
    step = context.forward()
    assert step.start_position() == 7
    handle = step.input([60]).input([61]).sample([1], ARGMAX)
    output = await step.execute()
    assert output.token(handle) is not None
    assert context.seq_len == 9
    assert output.tokens == []
    assert output.auto_sampler is None


@proves("forward.inputAt")
async def input_at():
    async def last_row(positions):
        step = Context(Model.default()).forward().input_at(tokens(6), positions)
        handle = step.probe(5, Logits())
        return (await step.execute()).logits(handle)

    output, handle = await read(Logits())
    assert await last_row(range(6)) == output.logits(handle)
    assert await last_row([0, 1, 2, 3, 4, 90]) != output.logits(handle)
    assert refused("bad-positions", lambda: Context(Model.default()).forward().input_at([1, 2], [0]))


@proves("forward.attentionMask")
async def attention_mask():
    async def last_row(masks):
        step = Context(Model.default()).forward().input(tokens(4))
        if masks:
            step.attention_mask(masks)
        handle = step.probe(3, Logits())
        return (await step.execute()).logits(handle)

    causal = [[0, row + 1] for row in range(4)]
    assert await last_row(causal) == await last_row(None)
    window = [*causal[:3], [2, 2]]
    assert await last_row(window) != await last_row(None)


@proves("forward.mask")
async def mask():
    assert await drawn(ARGMAX, mask=[77, 1]) == [77]
    assert set(await drawn(Sampler.multinomial(2.0, 40), mask=[77, 3])) <= {77, 78, 79}


@proves("forward.probe", "output.logits", "Logits")
async def logits():
    output, handle = await read(Logits())
    raw = output.logits(handle)
    values = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert len(values) == 2048
    assert values.index(max(values)) == (await drawn(ARGMAX))[0]


@proves("output.tokensAt")
async def tokens_at():
    step = Context(Model.default()).forward().input(tokens(6))
    several, one = step.sample([1, 3, 5], ARGMAX), step.sample([3], ARGMAX)
    output = await step.execute()
    assert len(output.tokens_at(several)) == 3
    assert output.tokens_at(several)[1] == output.token(one)


@proves("output.distribution", "Distribution")
async def distribution():
    output, handle = await read(Distribution(1.0, 5))
    ids, shares = output.distribution(handle)
    assert len(ids) == len(shares) == 5
    assert list(shares) == sorted(shares, reverse=True)
    assert ids[0] == (await drawn(ARGMAX))[0]


@proves("Distribution k=0")
async def whole_distribution():
    output, handle = await read(Distribution(0.7, 0))
    ids, shares = output.distribution(handle)
    assert sorted(ids) == list(range(2048))
    assert abs(sum(shares) - 1) < 1e-3


@proves("output.logprobs", "Logprobs", "Logprob")
async def logprobs():
    output, handle = await read(Distribution(1.0, 3))
    ids, shares = output.distribution(handle)
    order = [ids[2], ids[0], ids[1]]
    output, handle = await read(Logprobs(order))
    for value, share in zip(output.logprobs(handle), (shares[2], shares[0], shares[1]), strict=True):
        assert abs(value - math.log(share)) < 1e-3
    output, handle = await read(Logprob(ids[0]))
    assert len(output.logprobs(handle)) == 1


@proves("output.entropy", "Entropy")
async def entropy():
    output, handle = await read(Entropy())
    whole, shares_of = await read(Distribution(1.0, 0))
    _, shares = whole.distribution(shares_of)
    expected = -sum(share * math.log(share) for share in shares if share > 0)
    assert abs(output.entropy(handle) - expected) < 1e-2


@proves("output.raw")
async def raw():
    output, _ = await read(Entropy())
    assert len(output.raw.slots) == 1
    assert list(output.raw.spec_tokens) == []


async def allowed_by(sampler, allowed, count=60):
    """Whether all draws lie in `allowed`, and whether not all are the same."""
    found = set()
    for seed in range(count):
        found.update(await drawn(sampler, seed=seed))
    return found <= allowed, len(found)


@proves("Sampler.topK")
async def top_k():
    output, handle = await read(Distribution(1.0, 3))
    inside, kinds = await allowed_by(Sampler.top_k(3.0, 3), set(output.distribution(handle)[0]))
    assert inside
    assert kinds > 1


@proves("Sampler.topP")
async def top_p():
    output, handle = await read(Distribution(2.0, 0))
    nucleus, mass = set(), 0.0
    for token, share in zip(*output.distribution(handle), strict=True):
        if mass >= 0.5:
            break
        nucleus.add(token)
        mass += share
    inside, _ = await allowed_by(Sampler.top_p(2.0, 0.5), nucleus)
    assert inside
    assert await drawn(Sampler.top_p(0.0, 1.0)) == await drawn(ARGMAX)


@proves("Sampler.minP")
async def min_p():
    output, handle = await read(Distribution(2.0, 0))
    ids, shares = output.distribution(handle)
    inside, _ = await allowed_by(
        Sampler.min_p(2.0, 0.3), {t for t, share in zip(ids, shares, strict=True) if share >= 0.299 * shares[0]}
    )
    assert inside


@proves("Sampler.topKTopP")
async def top_k_top_p():
    output, handle = await read(Distribution(2.0, 4))
    ids, shares = output.distribution(handle)
    inside, _ = await allowed_by(Sampler.top_k_top_p(2.0, 4, 0.99), set(ids))
    assert inside
    # Of the first four together, the likeliest alone has this much.
    only, kinds = await allowed_by(Sampler.top_k_top_p(2.0, 4, shares[0] / sum(shares) / 2), {ids[0]}, count=10)
    assert (only, kinds) == (True, 1)


@proves("Sampler.multinomial")
async def multinomial():
    many = await drawn(Sampler.multinomial(3.0, 50))
    assert len(many) == 50
    assert len(set(many)) > 5
    assert many == await drawn(Sampler.multinomial(3.0, 50))
