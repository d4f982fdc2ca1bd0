"""ReAct: the model reasons before it acts. Each step is a thought, an action and an observation, in one context.

Grammars hold the form of a step: the thought is one sentence, the action is a call of one of the tools. What they say
is the model's own.
"""

import json

from inferlet import Context, Error, GrammarConstraint, Model, Sampler, chat, regex, session, tools

WEATHER = {
    "Lima": '{"temperature": 21, "sky": "sunny"}',
    "Oslo": '{"temperature": -4, "sky": "cloudy"}',
    "Cairo": '{"temperature": 33, "sky": "windy"}',
}
TRAINS = {"Oslo": '{"number": 28}', "Cairo": '{"number": 7}'}
TOOLS = {"get_weather": WEATHER.get, "find_train": TRAINS.get}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMAS = [
    {"name": "get_weather", "description": "Get the weather for a city", "parameters": CITY},
    {"name": "find_train", "description": "Find a train", "parameters": CITY},
]


async def main(input):
    max_steps = input.get("max_steps", 3)
    model = Model.default()
    with Context(model) as context:
        context.append(tools.equip_prefix(model, SCHEMAS))
        context.user(input.get("question", "What is the weather in the capital of Egypt?"))
        for step in range(1, max_steps + 1):
            session.send(f"Thought: {await think(context)}")
            name, city = await act(context)
            session.send(f"Action: {name}({city})")
            found = TOOLS[name](city)
            observation = found or '{"error": "not found"}'
            session.send(f"Observation: {observation}")
            context.append(tools.answer_prefix(model, name, observation))
            if found:  # else the agent thinks again, now that it has seen the error
                answer = await context.generate(Sampler.argmax(), max_tokens=60).collect_text(reasoning=False)
                return {"answer": answer, "steps": step}
    raise Error("no-answer", f"none after {max_steps} steps")


async def think(context):
    """One sentence of reasoning, between the marks of this model's template."""
    context.cue().append_text("<think>\n")
    thought = await hold(context, regex(r"[A-Z][A-Za-z ]*\.")).collect_text()
    context.append_text("\n</think>\n")
    return thought


async def act(context):
    """Name and argument of the call that the model makes after its thought."""
    calling = GrammarConstraint(tools.native_matcher(context.model, SCHEMAS))
    tokens = await hold(context, calling).collect_tokens()
    context.seal()
    [call] = tools.parse(context.model, tokens)
    return call.name, json.loads(call.args)["city"]


def hold(context, form):
    """A generation in the middle of a turn, whose form a grammar holds."""
    end = chat.stop_tokens(context.model)
    return context.generate(Sampler.argmax(), auto_flush=False, constrain=form, stop=end, max_tokens=80)
