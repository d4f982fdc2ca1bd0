"""A graph of programs: each runs as soon as what it needs is there, with the results of others in its input."""

import asyncio
import json
import re

from inferlet import Error, runtime, session

REFERENCE = re.compile(r"\$\{([^}.]+)((?:\.[^}.]+)*)\}")
EXAMPLE = {
    "record": {"program": "json-record", "input": {"sentence": "Wilma is 34 years old and lives in Quito."}},
    "sum": {"program": "best-of-n", "input": {"prompt": "What is ${record.age} + 8?", "temperature": 0.1}},
}


async def main(input):
    steps = input.get("steps", EXAMPLE)
    needs = {name: needed_by(name, step, steps) for name, step in steps.items()}
    check_order(needs)
    tasks = {}

    async def run(name):
        results = {other: await tasks[other] for other in needs[name]}
        child = runtime.launch(steps[name]["program"], filled(steps[name].get("input", {}), results))
        try:
            result = await child.wait()
        except asyncio.CancelledError:
            child.cancel()
            raise
        session.send(json.dumps({"step": name, "done": True}))
        return result

    try:
        async with asyncio.TaskGroup() as group:  # the first failure ends the others
            tasks.update({name: group.create_task(run(name)) for name in steps})
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return {name: task.result() for name, task in tasks.items()}


def needed_by(name, step, steps):
    """The steps whose results stand in a step's input."""
    if not isinstance(step, dict) or not isinstance(step.get("program"), str):
        raise Error("bad-workflow", f"step {name} names no program")
    needed = {match[0] for match in REFERENCE.findall(json.dumps(step.get("input", {})))}
    if unknown := needed - steps.keys():
        raise Error("bad-workflow", f"step {name} needs {', '.join(sorted(unknown))}, which is no step")
    return sorted(needed)


def check_order(needs):
    """Raise if steps wait for each other in a circle."""
    done = set()
    while ready := [name for name in needs if name not in done and done.issuperset(needs[name])]:
        done.update(ready)
    if waiting := [name for name in needs if name not in done]:
        raise Error("bad-workflow", f"{', '.join(waiting)} wait for each other")


def filled(value, results):
    """An input with the results in place of `${step.key}`; a text that is nothing else becomes the value itself."""
    if isinstance(value, dict):
        return {key: filled(entry, results) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, results) for entry in value]
    if not isinstance(value, str):
        return value
    if whole := REFERENCE.fullmatch(value):
        return found(whole, results)
    return REFERENCE.sub(lambda match: as_text(found(match, results)), value)


def found(match, results):
    value = results[match[1]]
    for key in match[2].split(".")[1:]:
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise Error("bad-workflow", f"the result of {match[1]} has no {match[2][1:]}") from None
    return value


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)
