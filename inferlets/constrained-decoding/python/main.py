"""Constrained decoding: choices, patterns, grammars and schemas decide which tokens may come; several hold together."""

import json

from inferlet import Context, Model, Sampler, ebnf, json_schema, regex

LIST = """
root ::= word ", " word " and " word
word ::= [a-z]+
"""
SCHEMA = """{
  "type": "object",
  "properties": {"name": {"type": "string"}, "city": {"enum": ["Lima", "Quito", "Rome"]}},
  "required": ["name", "city"],
  "additionalProperties": false
}"""
EXAMPLES = [
    {"prompt": "What is the capital of France?", "choices": "Lima, Paris, Rome"},
    {"prompt": "Which is bigger, 12 or 31?", "regex": "[0-9]+"},
    {"prompt": "Name three fruits.", "ebnf": LIST},
    {"prompt": "Extract JSON: Wilma is 34 years old and lives in Quito.", "schema": SCHEMA},
    {"prompt": "List five animals.", "regex": "[a-z]+(, [a-z]+){4}", "without": "e"},
]


async def main(input):
    examples = [input] if "prompt" in input else EXAMPLES
    return [await compare(example, input.get("max_tokens", 60)) for example in examples]


async def compare(example, max_tokens):
    """The answer to a prompt, free and under all constraints of an example."""
    options = {"max_tokens": max_tokens}
    with Context(Model.default()) as context:
        context.user(example["prompt"])
        with context.fork() as fork:
            free = await fork.generate(Sampler.argmax(), **options).collect_text(reasoning=False)
        constrained = await context.generate(Sampler.argmax(), constrain=constraints(example), **options).collect_text()
    return {"prompt": example["prompt"], "free": free, "constrained": constrained}


def constraints(input):
    """What an input demands of the answer, one constraint each."""
    demands = []
    if "choices" in input:
        choices = [json.dumps(choice.strip()) for choice in input["choices"].split(",")]
        demands.append(ebnf(f"root ::= {' | '.join(choices)}"))
    if "regex" in input:
        demands.append(regex(input["regex"]))
    if "ebnf" in input:
        demands.append(ebnf(input["ebnf"]))
    if "schema" in input:
        demands.append(json_schema(input["schema"]))
    if "without" in input:
        demands.append(regex(f"[^{input['without']}]*"))
    return demands
