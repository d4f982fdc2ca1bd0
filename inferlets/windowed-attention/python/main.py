"""Windowed attention: each token attends to the last ones only, by attention masks that the program writes itself.

Pages that no later token sees are given back. So a small window needs few pages, and knows nothing of what lies before.
"""

from inferlet import Context, Model, Sampler, Window, chat

FACTS = (
    "Tom lives in Lima. Eva lives in Oslo. Sam lives in Rome. Nora lives in Cairo. Ada lives in Paris. "
    "Ben lives in Quito. Lars lives in Riga. Wilma lives in Delhi. Ivan lives in Madrid. Mia lives in Athens."
)
LONGEST = 40


async def main(input):
    model = Model.default()
    question = f"{input.get('facts', FACTS)} {input.get('question', 'Where does Tom live?')}"
    prompt = [*chat.first_user(model, question), *chat.cue(model)]
    windows = [int(size) for size in input.get("windows", "24, 48, 96").split(",")]
    return {"tokens": len(prompt), "answers": [await compare(model, prompt, size) for size in windows]}


async def compare(model, prompt, size):
    """The answer to a prompt by masks of one's own, and whether the option `window` gives the same one."""
    with Context(model) as context:
        tokens = await answer(context, prompt, size)
        pages = context.pages_held
    with Context(model) as context:
        context.append(prompt)
        options = {"stop": chat.stop_tokens(model), "max_tokens": LONGEST, "auto_flush": False}
        same = await context.generate(Sampler.argmax(), window=Window(size), **options).collect_tokens()
    return {
        "window": size,
        "answer": model.tokenizer().decode(tokens),
        "pages": pages,
        "same_by_option": tokens == same,
    }


async def answer(context, prompt, size):
    """The greedy tokens after a prompt, one forward pass each."""
    made, tokens = [], prompt
    while len(made) < LONGEST:
        start = context.seq_len
        forward = context.forward().input(tokens)
        forward.attention_mask([row(start + index + 1, size) for index in range(len(tokens))])
        drawn = forward.sample([len(tokens) - 1], Sampler.argmax())
        tokens = [(await forward.execute()).token(drawn)]
        # The next token is number `seq_len + 1`. Its window, and every later one, begins after these pages.
        context.discard_pages(0, max(0, context.seq_len + 1 - size) // context.page_size)
        if tokens[0] in chat.stop_tokens(context.model):
            break
        made += tokens
    return made


def row(length, size):
    """What the last of `length` tokens attends to: so many hidden keys, then so many visible ones."""
    hidden = max(0, length - size)
    return [hidden, length - hidden]
