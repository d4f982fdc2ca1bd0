"""A swarm: this program launches itself in several roles, and the copies find an answer together by messages.

The root broadcasts a question to all solvers. Each solver pushes its answer to a queue, the judge pulls them and pushes
its verdict, and the root returns that once all copies have ended.
"""

import asyncio
import json
from collections import Counter

from inferlet import Context, Logprob, Model, Sampler, chat, messaging, runtime


async def main(input):
    role, swarm = input.get("role", "root"), input.get("swarm", f"swarm-{runtime.instance_id()}")
    question = input.get("question", "Sort these words: plum, plate, pear, peach")
    num_solvers = input.get("solvers", 4)
    if role == "solver":
        return await solve(swarm)
    if role == "judge":
        return await judge(swarm, question, num_solvers)

    def launch(role):
        task = {"role": role, "swarm": swarm, "question": question, "solvers": num_solvers}
        return runtime.launch(input.get("program", "agent-swarm"), task)

    copies = [launch("judge"), *(launch("solver") for _ in range(num_solvers))]
    # If one of the copies fails, so does the root, and the others end with it.
    verdict, *_ = await asyncio.gather(ask(swarm, question, num_solvers), *(copy.wait() for copy in copies))
    return verdict


async def ask(swarm, question, num_solvers):
    """The root: ask all solvers, and wait for the verdict."""
    for _ in range(num_solvers):
        await messaging.pull(f"{swarm}/ready")  # a broadcast reaches those who listen, nobody later
    messaging.broadcast(f"{swarm}/question", question)
    return json.loads(await messaging.pull(f"{swarm}/verdict"))


async def solve(swarm):
    """A solver: listen for a question, and give an answer of its own."""
    with messaging.subscribe(f"{swarm}/question") as questions:
        messaging.push(f"{swarm}/ready", "")
        question = await questions.next()
    with Context(Model.default()) as context:
        context.user(question)
        answer = await context.generate(Sampler.top_p(1.0, 0.95), max_tokens=60).collect_text(reasoning=False)
    messaging.push(f"{swarm}/answers", answer)


async def judge(swarm, question, num_solvers):
    """The judge: of all answers, believe the one that the model finds most likely."""
    votes = Counter([await messaging.pull(f"{swarm}/answers") for _ in range(num_solvers)])
    with Context(Model.default()) as context:
        context.user(question)
        await context.flush()
        logprobs = await asyncio.gather(*(logprob(context, answer) for answer in votes))
    ranked = sorted(zip(logprobs, votes, strict=True), reverse=True)
    answers = [{"answer": one, "solvers": votes[one], "logprob": round(value, 2)} for value, one in ranked]
    messaging.push(f"{swarm}/verdict", json.dumps({"answer": ranked[0][1], "answers": answers}))


async def logprob(context, answer):
    """The summed log probability of an answer."""
    model = context.model
    *opening, last = chat.cue(model)
    tokens = model.tokenizer().encode(answer)
    with context.fork() as fork:
        forward = fork.append(opening).forward().input([last, *tokens])
        probes = [forward.probe(index, Logprob(token)) for index, token in enumerate(tokens)]
        output = await forward.execute()
        return sum(output.logprobs(probe)[0] for probe in probes)
