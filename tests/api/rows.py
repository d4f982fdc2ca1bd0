"""The rows of the inferlet API: one per call, option, property or event that a program can use.

Named as in the JavaScript SDK, whose reference is the original; Python spells them in its own way (`collectText` is
`collect_text`). A row is proven in a language if the test of that row passes there (`tests/api/test_<language>.py`).
"""

from __future__ import annotations

__all__ = ["ROWS", "SECTIONS"]

SECTIONS: dict[str, list[str]] = {
    "Entry point": ["import", "main(input)", "main returns JSON", "main throws"],
    "Runtime": ["runtime.models", "runtime.version", "runtime.instanceId", "runtime.username"],
    "Model and tokenizer": [
        "Model.load", "model.tokenizer",
        "tokenizer.encode", "tokenizer.decode", "tokenizer.vocabs", "tokenizer.specialTokens", "tokenizer.splitRegex",
    ],
    "Context": [
        "new Context", "Context.open", "Context.take", "Context.delete", "context.fork", "context.save",
        "context.snapshot", "context.release", "context disposal",
        "context.system", "context.user", "context.assistant", "context.cue", "context.seal", "context.append",
        "context.appendText", "context.flush",
        "context.model", "context.pageSize", "context.seqLen", "context.buffer", "context.truncate",
        "context.setBid", "context.idle",
    ],
    "Generator options": [
        "generate maxTokens", "generate stop", "generate constrain", "generate constrain several",
        "generate logitMask", "generate speculator", "generate systemSpeculation", "generate adapter",
        "generate zoSeed", "generate horizon", "generate autoFlush",
    ],
    "Generator": [
        "generator.maxTokens", "generator.stop", "generator.addStop", "generator.constrain", "generator.horizon",
        "generator.adapter", "generator.zoSeed", "generator.probeEachStep",
        "generator.tokensGenerated", "generator.isDone",
        "generator.collectTokens", "generator.collectText", "generator.collectJson",
        "for await step", "step.clearSampler", "step.probe", "step.execute", "generator.accept",
        "fork in mid-generation", "save in mid-generation",
    ],
    "Forward": [
        "forward.input", "forward.inputAt", "forward.attentionMask", "forward.mask", "forward.sample", "forward.probe",
        "forward.adapter", "forward.zoSeed", "forward.execute", "forward.startPosition",
    ],
    "Output": [
        "output.token", "output.tokensAt", "output.distribution", "output.logits", "output.logprobs",
        "output.entropy", "output.tokens", "output.autoSampler", "output.raw",
    ],
    "Samplers": [
        "Sampler.argmax", "Sampler.topP", "Sampler.topK", "Sampler.minP", "Sampler.topKTopP", "Sampler.multinomial",
    ],
    "Probes": ["Logits", "Distribution", "Distribution k=0", "Logprob", "Logprobs", "Entropy"],
    "Constraints": [
        "anyJson", "jsonSchema", "regex", "ebnf", "grammar", "custom Schema", "custom Constraint",
        "Grammar.fromJsonSchema", "Grammar.json", "Grammar.fromRegex", "Grammar.fromEbnf",
        "GrammarConstraint.fromGrammar", "GrammarConstraint.fromJsonSchema", "GrammarConstraint.json",
        "GrammarConstraint.fromRegex", "GrammarConstraint.fromEbnf", "new GrammarConstraint",
        "new Matcher", "matcher.acceptTokens", "matcher.nextTokenLogitMask", "matcher.isTerminated", "matcher.reset",
    ],
    "Speculation": ["speculator.draft", "speculator.accept", "speculator.rollback", "speculator.reset"],
    "Adapters": [
        "Adapter.create", "Adapter.open", "adapter.fork", "adapter.save", "adapter.load", "adapter.destroy",
        "adapter disposal", "zo.initialize", "zo.update",
    ],
    "Decoders": [
        "chat.Decoder idle", "chat.Decoder delta", "chat.Decoder done", "chat.Decoder interrupt", "chat.Decoder reset",
        "chat helpers",
        "reasoning.Decoder idle", "reasoning.Decoder start", "reasoning.Decoder delta", "reasoning.Decoder end",
        "reasoning.Decoder reset",
        "tools.Decoder start", "tools.Decoder call", "tools.Decoder reset",
        "tools.equipPrefix", "tools.answerPrefix", "tools.nativeMatcher",
    ],
    "Session": ["session.send", "session.send object", "session.sendFile", "session.receive", "session.receiveFile"],
    "Messaging": [
        "messaging.broadcast", "messaging.subscribe", "messaging.push", "messaging.pull", "subscription.next",
        "subscription.unsubscribe", "for await message", "subscription disposal",
    ],
    "MCP": [
        "mcp.availableServers", "mcp.connect", "mcp.listTools", "mcp.callTool", "mcp.listResources",
        "mcp.readResource", "mcp.listPrompts", "mcp.getPrompt",
    ],
    "Scheduling": [
        "scheduling.balance", "scheduling.rent", "scheduling.dividend", "scheduling.latency", "scheduling.price",
    ],
    "Files and network": ["files under /scratch", "HTTP under the egress policy"],
    "Child programs": ["runtime.launch", "child result", "child.cancel"],
    "Raw pages": [
        "reserveWorkingPages", "commitWorkingPages", "releaseWorkingPages", "truncateWorkingPageTokens",
        "committedPageCount", "workingPageCount", "workingPageTokenCount", "tokensPerPage",
    ],
}  # fmt: skip
"""Section -> its rows."""

ROWS: list[str] = [row for rows in SECTIONS.values() for row in rows]
