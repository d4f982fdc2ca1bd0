"""Hierarchical attention: documents are read apart from each other, and the answer attends only to those that matter.

Each document attends to the opening and itself. On forks, the question then attends to one document each: the better a
document lets the model foresee the question, the better it fits (Ponte and Croft, "A language modeling approach to
information retrieval", 1998). Pages of the others are given back before the answer.
"""

import asyncio

from inferlet import Context, Logprob, Model, Sampler, chat

DOCUMENTS = (
    "Tom lives in Lima. Eva lives in Oslo. Sam lives in Rome. Nora lives in Cairo. Hugo lives in Paris."
    "|Ada likes red. Ben likes green. Lars likes blue. Wilma likes yellow. Rosa likes black. Otto likes white."
    "|Ivan is a doctor. Mia is a painter. Leo is a teacher. Zoe is a baker. Paul is a farmer. Jane is a nurse."
    "|Kim is 34 years old. Max is 61 years old. Ida is 8 years old. Olga is 25 years old. Finn is 47 years old."
)
LONGEST = 40


async def main(input):
    documents = input.get("documents", DOCUMENTS).split("|")
    model = Model.default()
    question = chat.user(model, input.get("question", "Where does Nora live?"))
    prompt = [*question, *chat.cue(model)]
    with Context(model) as context:
        opening = await read(context, [], chat.system(model, "You are a helpful assistant."))
        parts = [await read(context, [opening], told(model, document)) for document in documents]
        pages_read = context.pages_held
        with context.fork() as fork:
            from_all = await answer(fork, [opening, *parts], prompt)

        scores = await asyncio.gather(*(fit(context, [opening, part], question) for part in parts))
        best = sorted(range(len(parts)), key=lambda index: -scores[index])[: input.get("keep", 1)]
        visible = [opening, *(parts[index] for index in sorted(best))]
        forget(context, visible)
        return {
            "kept": [documents[index] for index in best],
            "answer": await answer(context, visible, prompt),
            "answer_from_all": from_all,
            "pages_read": pages_read,
            "pages_at_the_end": context.pages_held,
        }


def told(model, document):
    """The tokens in which the model is told a document."""
    return [*chat.user(model, f"Remember this: {document}"), *chat.assistant(model, "OK, I will remember that.")]


async def read(context, visible, tokens):
    """Read tokens that attend to themselves and the places `visible`; return their places."""
    await masked(context, visible, tokens).execute()
    return range(context.seq_len - len(tokens), context.seq_len)


async def fit(context, visible, question):
    """The log probability of a question after what is visible."""
    with context.fork() as fork:
        forward = masked(fork, visible, question)
        probes = [forward.probe(index, Logprob(token)) for index, token in enumerate(question[1:])]
        output = await forward.execute()
        return sum(output.logprobs(probe)[0] for probe in probes)


async def answer(context, visible, prompt):
    """The greedy text after a prompt that attends to what is visible."""
    start, made, tokens = context.seq_len, [], prompt
    stop = chat.stop_tokens(context.model)
    while len(made) < LONGEST:
        forward = masked(context, [*visible, range(start, context.seq_len)], tokens)
        drawn = forward.sample([len(tokens) - 1], Sampler.argmax())
        tokens = [(await forward.execute()).token(drawn)]
        if tokens[0] in stop:
            break
        made += tokens
    return context.model.tokenizer().decode(made)


def masked(context, visible, tokens):
    """A pass over tokens, each of which attends to the places `visible` and to those of `tokens` up to itself."""
    start = context.seq_len
    rows = [row([*visible, range(start, start + index + 1)]) for index in range(len(tokens))]
    return context.forward().input(tokens).attention_mask(rows)


def row(visible):
    """The mask that shows places in rising order: run lengths, hidden and visible by turns."""
    runs, end = [], 0
    for part in visible:
        runs += [part.start - end, len(part)]
        end = part.stop
    return runs


def forget(context, visible):
    """Give back the full pages in which nothing is visible."""
    seen = {place // context.page_size for part in visible for place in part}
    for page in set(range(context.seq_len // context.page_size)) - seen:
        context.discard_pages(page, 1)
