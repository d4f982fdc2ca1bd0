"""The bad calls by name, and what they share."""

from inferlet import Context, Model, Sampler

CALLS = {}
TOO_MANY = 2_000_001


def call(name):
    """Declare a bad call."""

    def declare(function):
        if name in CALLS:
            raise ValueError(f"{name} is declared twice")
        CALLS[name] = function
        return function

    return declare


def calls(table):
    """Declare several by name."""
    for name, function in table.items():
        call(name)(function)


def fresh():
    """An empty context."""
    return Context(Model.default())


async def filled(count):
    """A context with so many tokens in its pages."""
    context = fresh().append([40 + index % 200 for index in range(count)])
    await context.flush()
    return context


def vocabulary():
    """The first token id that the model does not have."""
    return len(Model.default().tokenizer().vocabs()[0])


async def run(context=None, *, tokens=(60, 61), sampler=None, fill=lambda forward: None):
    """A pass over some tokens, with something wrong about it."""
    with context or fresh() as context:
        forward = context.forward().input(tokens)
        forward.sample([len(tokens) - 1], sampler or Sampler.argmax())
        fill(forward)
        return await forward.execute()


async def generate(tokens=(60,), **options):
    """A generation with something wrong about it."""
    sampler = options.pop("sampler", None) or Sampler.argmax()
    with fresh().append(tokens) as context:
        return await context.generate(sampler, **{"max_tokens": 4, "auto_flush": False, **options}).collect_tokens()
