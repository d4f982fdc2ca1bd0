"""A small HTTP service beside the model: GET streams an answer as it is written, POST makes a record of a sentence."""

from inferlet import Context, Model, Sampler
from inferlet.serving import Request, Response

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["name", "age", "city"],
    "additionalProperties": False,
}


async def handle(request: Request):
    if request.method == "GET" and "question" in request.query:
        return Response(stream(request.query["question"]))  # each piece is sent when it is there
    if request.method == "POST":
        return await person(await request.text())  # a value becomes JSON
    return Response("Ask GET /?question=..., or POST a sentence about a person.\n", status=400)


async def stream(question):
    with Context(Model.default()) as context:
        context.user(question)
        async for piece in context.generate(Sampler.argmax(), max_tokens=100).text(reasoning=False):
            yield piece
        yield "\n"


async def person(sentence):
    with Context(Model.default()) as context:
        context.user(f"Extract JSON with the keys {', '.join(PERSON['properties'])}: {sentence}")
        return await context.generate(Sampler.argmax(), max_tokens=100).collect_json(schema=PERSON)
