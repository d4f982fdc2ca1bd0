"""One instance answers all requests: what they have in common is computed once, and kept in a context between them."""

from inferlet import Context, Model, Sampler
from inferlet.serving import Request, Response

INSTRUCTIONS = "You answer questions about geography in one short sentence."
warm = None
answered = 0


async def handle(request: Request):
    global answered
    if "question" not in request.query:
        return Response("Ask GET /?question=...\n", status=400)
    with (await instructed()).fork() as context:  # given back with the request, also if its client leaves
        context.user(request.query["question"])
        answer = await context.generate(Sampler.argmax(), max_tokens=60).collect_text(reasoning=False)
    answered += 1
    return {"answer": answer, "answered": answered}


async def instructed():
    """The context that all requests begin with."""
    global warm
    if warm is None:
        warm = Context(Model.default())
        warm.system(INSTRUCTIONS)
        await warm.flush()
    return warm
